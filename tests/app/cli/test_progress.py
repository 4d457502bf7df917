"""Events become lines with what they carry."""

import io

import pytest
from rich.text import Text

from app.cli.progress import Bars, Lines, describe
from app.cli.terminal import Terminal


def test_events_become_lines() -> None:
    event = {"type": "epoch", "epoch": 1, "epochs": 2, "val_accuracy": 0.5, "peak_bytes": 2**27}
    assert describe(event, 2**28) == "epoch 1/2 validation accuracy 50.0 %, 128 MiB of 256 MiB"
    plan = {"adapter": "bias", "micro_batch": 4, "accumulation": 16, "predicted": {"peak_bytes": 2**23}}
    assert describe({"type": "plan", "plan": plan}, None) == "plan bias, 4 x 16 images, 8.0 MiB predicted"
    err = io.StringIO()
    with Lines(Terminal(False, err, err), None) as follow:
        follow({"type": "phase", "name": "training"})
    assert err.getvalue() == "training\n"


def test_progress_says_how_far_and_how_long() -> None:
    event = {"type": "progress", "phase": "profiling", "done": 14, "total": 60, "eta_s": 40}
    assert describe(event, None) == "profiling: site 14 of 60, about 40 s left"
    assert describe({**event, "eta_s": None}, None) == "profiling: site 14 of 60"
    assert describe({**event, "eta_s": 300}, None).endswith("about 5 min left")


class FakeTerminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_is_done_and_keeps_each_phase_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    err = FakeTerminal()
    with Bars(Terminal(False, err, err), 2**28) as follow:
        follow({"type": "phase", "name": "profiling"})
        follow({"type": "stage", "phase": "profiling", "message": "running a first step"})
        assert "profiling running a first step" in line_of(follow)
        follow({"type": "progress", "phase": "profiling", "done": 14, "total": 60, "eta_s": 40})
        assert "site 14 of 60 about 40 s left" in line_of(follow)
        follow({"type": "phase", "name": "training"})
        step = {"type": "step", "epoch": 1, "epochs": 2, "total_steps": 20, "loss": 1.25, "peak_bytes": 2**27}
        follow({**step, "step": 3})
        follow({**step, "step": 4})
        assert "epoch 1/2, step 4 of 20, loss 1.250, 128 MiB" in line_of(follow)
        assert "left" in line_of(follow)
    assert "profiling: 0 s" in err.getvalue()
    assert "training: 0 s" in err.getvalue()


def test_a_phase_that_fails_says_that_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    err = FakeTerminal()

    def fail() -> None:
        with Bars(Terminal(False, err, err), None) as follow:
            follow({"type": "phase", "name": "profiling"})
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        fail()
    assert "profiling: stopped after 0 s" in err.getvalue()


def line_of(bars: Bars) -> str:
    """The line as it is drawn."""
    line = bars._line()
    assert isinstance(line, Text)
    return line.plain
