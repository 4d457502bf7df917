"""`s2a train` explains its options, and reads the command of a report as the request it is of."""

import io
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.terminal import Terminal
from app.cli.train import _summary, _unused
from s2a_core import pipeline
from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import write_json
from s2a_core.outputs.record import command_line
from s2a_core.requests import RunRequest
from tests.s2a_core.runs import hand_plan


def test_a_random_network_is_trained_in_full_unless_an_adapter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[RunRequest] = []
    monkeypatch.setattr(pipeline, "run", lambda request, follow: asked.append(request) or {})
    words = ["train", "resnet18", "--data", "digits", "--budget", "1GiB"]
    for more in ([], ["--weights", "none"], ["--weights", "none", "--adapter", "bias"]):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code == 0, result.output
        assert ("--adapter full" in result.output) == (asked[-1].adapter == "full")
    assert [(r.weights, r.adapter) for r in asked] == [("pretrained", "auto"), ("none", "full"), ("none", "bias")]


def test_a_budget_or_a_plan_has_to_be_given() -> None:
    result = CliRunner().invoke(app, ["train", "s2a_tiny", "--data", "digits", "--json"])
    assert result.exit_code == 2
    assert "--budget is missing" in result.stdout


def test_without_an_output_the_next_free_directory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _unused("resnet18", "../my photos/", is_resumed=False) == Path("runs/resnet18-my-photos-1")
    Path("runs/resnet18-my-photos-1").mkdir(parents=True)
    assert _unused("resnet18", "../my photos", is_resumed=False) == Path("runs/resnet18-my-photos-2")
    assert _unused("hf-hub:timm/vit", "hf:a/b.tar.gz", is_resumed=False) == Path("runs/hf-hub-timm-vit-b-1")
    assert _unused("resnet18", ".", is_resumed=False) == Path("runs/resnet18-data-1")
    with pytest.raises(InvalidInput, match="--output"):
        _unused("resnet18", "photos", is_resumed=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "resnet18", "weights": "none", "adapter": "full"},
        {"weights": "none", "adapter": "bias"},
        {"weights": "my weights/a b.safetensors", "device": "cpu", "precision": "bf16", "image_size": 64},
        {"lr": 1e-05, "ema_decay": 0.99, "patience": 2, "augmentation": "timm", "objective": "speed", "seed": 7},
        {"data": "$HOME/it's; here", "output": Path("a dir/out"), "batch_size": 12, "adapter": "bias,prompt"},
    ],
)
@pytest.mark.parametrize("has_plan", [False, True])
def test_the_command_of_a_report_is_read_as_its_request(
    changes: dict[str, object], has_plan: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = hand_plan(batch_size=12) if has_plan else None
    known = {"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**28, "output": Path("out"), "plan": made}
    request = RunRequest(**{**known, **changes})  # type: ignore[arg-type]
    if made is not None:
        request = replace(request, batch_size=made.batch_size)
        write_json(request.output / "plan.json", made.to_json())  # type: ignore[operator]
    read: list[RunRequest] = []
    monkeypatch.setattr(pipeline, "run", lambda request, follow: read.append(request) or {})
    command = command_line(request)
    assert command is not None
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    assert replace(read[0], profile_cache=None) == request


def test_a_run_that_was_interrupted_says_the_line_that_goes_on_and_that_line_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[RunRequest] = []

    def begin(request: RunRequest, follow: Callable[[dict[str, object]], None]) -> dict[str, object]:
        asked.append(request)
        Path(str(request.output)).mkdir(parents=True, exist_ok=True)
        follow({"type": "plan", "plan": {}})
        if len(asked) == 1:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(pipeline, "run", begin)
    words = ["train", "s2a_tiny", "--data", "digits", "--budget", "64MiB", "--lr", "1e-3", "--output", "my runs/1"]
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130
    line = next(line for line in stopped.output.splitlines() if line.startswith("go on with: "))
    assert line == "go on with: s2a train --resume 'my runs/1'"
    done = CliRunner().invoke(app, shlex.split(line.removeprefix("go on with: "))[1:])
    assert done.exit_code == 0, done.output
    assert asked[1] == replace(asked[0], resume=True)


def test_the_configuration_is_printed_and_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "run", lambda request, follow: pytest.fail("it trains"))
    words = ["train", "s2a_tiny", "--data", "nowhere", "--budget", "64MiB", "--epochs", "3", "--print-config"]
    printed = CliRunner().invoke(app, words)
    path = tmp_path / "run.yaml"
    path.write_text(printed.stdout)
    again = CliRunner().invoke(app, ["train", "--config", str(path), "--print-config"])
    assert (again.exit_code, again.stdout) == (0, printed.stdout)
    assert "epochs: 3\n" in printed.stdout


def test_the_last_lines_name_the_directory_as_it_is() -> None:
    out = io.StringIO()
    _summary(Terminal(False, out, out), {"accuracy": 0.5}, Path("runs/[bold]a b"))
    assert "runs/[bold]a b/report.html" in out.getvalue()
    assert "s2a predict 'runs/[bold]a b' IMAGE..." in out.getvalue()
