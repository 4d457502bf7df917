"""Commands say something at once and go on saying it: timed in a pseudo-terminal, at two widths.

The first words are due within two seconds on a quiet machine; LATE_S leaves room for one that runs other tests. What a
busy machine cannot hide is asserted exactly: that the first words come before PyTorch is loaded is tests/app/cli/
test_plan.py's, and here that no silence is longer than GAP_S while a slow model is profiled.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.app.cli.stopwatch import Transcript, run_in_terminal
from tests.faults.service import RunningService

FIRST_S, GAP_S = 2.0, 5.0
WIDTHS = (80, 120)
# A command beside others on every processor starts late; two seconds are of a machine that is otherwise idle.
LATE_S = FIRST_S * max(1.0, 3 * os.getloadavg()[0] / (os.cpu_count() or 1))
S2A = [sys.executable, "-c", "import sys; from app.cli.main import app; sys.argv[0] = 's2a'; app()"]
# The first steps of its profile take as long as those of a large model. Nothing is imported before its time.
SLOW = textwrap.dedent(
    """
    import itertools, sys, time
    from app.cli.main import app
    from s2a_core.planner import Planner
    measure, waits = Planner._measure, itertools.chain([8.0, 6.0], itertools.repeat(0.02))
    def slow_measure(self, *given):
        import s2a_core.profiling.measuring as measuring
        step = measuring.run_step
        def slow(*given, **named):
            time.sleep(next(waits))
            return step(*given, **named)
        measuring.run_step = slow
        try:
            return measure(self, *given)
        finally:
            measuring.run_step = step
    Planner._measure = slow_measure
    sys.argv[0] = 's2a'
    app()
    """
)


def timed(words: list[str], columns: int, home: Path, command: list[str] = S2A) -> Transcript:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    result = run_in_terminal([*command, *words], columns, environment)
    assert result.first_s <= LATE_S, result.text
    assert result.longest_gap_s <= GAP_S, [(round(at, 1), text[-60:]) for at, text in result.pieces]
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory, so that profiles of this user are not taken."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """`s2a serve` on an empty folder."""
    service = RunningService(tmp_path_factory.mktemp("service")).start()
    yield service
    service.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("columns", WIDTHS)
def test_plan_of_a_slow_model_tells_what_it_does(columns: int, tmp_path: Path) -> None:
    words = ["plan", "s2a_tiny", "--weights", "none", "--adapter", "bias", "--budget", "90%", "--device", "cpu"]
    done = timed([*words, "--batch-size", "2"], columns, tmp_path, [sys.executable, "-c", SLOW])
    assert done.code == 0, done.text
    assert "% of what is free in this machine's memory" in done.text
    assert "profiling running a first step" in done.text
    assert "site 1" in done.text
    drawn = [line for line in done.lines if line.lstrip("-\\|/ ").startswith(("profiling", "planning"))]
    assert max(map(len, drawn)) <= columns
    assert any(
        line.startswith("profiling: ") and line.endswith((" s", " min")) for line in done.lines
    )  # what stays to be read


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("columns", WIDTHS)
def test_train_then_predict(columns: int, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = ["train", "s2a_tiny", "--data", "digits", "--budget", "64MiB", "--epochs", "1", "--adapter", "bias"]
    trained = timed([*words, "--output", str(output)], columns, home)
    assert trained.code == 0, trained.text
    for phase in ("validating", "profiling", "planning", "verifying", "training", "reporting"):
        assert any(line.startswith(f"{phase}: ") for line in trained.lines), phase
    assert "step 1 of" in trained.text
    picture = tmp_path / "8.png"
    Image.new("L", (8, 8)).save(picture)
    predicted = timed(["predict", str(output), str(picture)], columns, home)
    assert predicted.code == 0, predicted.text
    assert "probability" in predicted.text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_submit_and_watch(running: RunningService, home: Path, tmp_path: Path) -> None:
    words = ["submit", "s2a_tiny", "--data", "digits", "--budget", "64MiB", "--epochs", "1", "--adapter", "bias"]
    for columns in WIDTHS:
        done = timed([*words, "--watch", "--url", running.url, "--key", running.key], columns, home)
        assert done.code == 0, done.text
        assert "queued" in done.text
        assert any(line.startswith("training: ") for line in done.lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_doctor(columns: int, home: Path) -> None:
    assert "python" in timed(["doctor"], columns, home).text
