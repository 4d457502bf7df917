"""A run's numbers, read back by the library that they were sent to."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2a_core.errors import InvalidInput
from s2a_core.tracking import Tracking, require_tracker, tracked

FIELDS = {"model": "s2a_tiny", "lr": 0.5, "patience": None}
STEPS = [
    {"type": "step", "step": i, "loss": 2.0 / i, "lr": 0.1, "accuracy": 0.5, "peak_bytes": 1000 + i} for i in (1, 2)
]
EPOCH = {"type": "epoch", "epoch": 1, "train_loss": 1.5, "val_loss": float("nan"), "val_accuracy": 0.75}
REPORT = {"accuracy": 0.75, "measured_peak_bytes": 2000}


def follow(name: str, output: Path) -> None:
    passed: list[dict[str, Any]] = []
    with tracked(name, output, FIELDS, passed.append) as tracking:
        for event in [*STEPS, EPOCH]:
            tracking(event)
        tracking.finish(REPORT)
    assert passed == [*STEPS, EPOCH]


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="s2a[tensorboard]")
    follow("tensorboard", tmp_path)
    read = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in read.Scalars("step/loss")] == [(1, 2.0), (2, 1.0)]
    assert [e.value for e in read.Scalars("epoch/val_accuracy")] == [0.75]
    assert [e.value for e in read.Scalars("run/measured_peak_bytes")] == [2000]
    assert "epoch/val_loss" not in read.Tags()["scalars"]
    assert b"s2a_tiny" in read.Tensors("request/text_summary")[0].tensor_proto.string_val[0]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="s2a[mlflow]")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        follow("mlflow", tmp_path / "run-1")
        experiment = mlflow.get_experiment_by_name("s2a")
        (run,) = mlflow.MlflowClient().search_runs([experiment.experiment_id])
        assert run.info.run_name == "run-1"
        assert run.data.params == {"model": "s2a_tiny", "lr": "0.5"}
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "step/loss")
        assert [(m.step, m.value) for m in history] == [(1, 2.0), (2, 1.0)]
        assert run.data.metrics["run/accuracy"] == 0.75
    finally:
        mlflow.set_tracking_uri(before)


def wandb_records(log: bytes) -> Iterator[bytes]:
    """The records of an offline run: LevelDB's log format after a header of 7 bytes, in blocks of 32 KiB."""
    at, parts = 7, list[bytes]()
    while at + 7 <= len(log):
        if 32_768 - at % 32_768 < 7:  # the rest of a block is too short for another header
            at += 32_768 - at % 32_768
            continue
        length, kind = struct.unpack_from("<HB", log, at + 4)
        parts.append(log[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def whole_wandb_run(path: Path, seconds: float = 60.0) -> list[Any]:
    """The records up to the run's exit: a process of wandb's writes them, and may do so after `finish` has returned."""
    from wandb.proto import wandb_internal_pb2

    deadline = time.monotonic() + seconds
    while True:
        records = [wandb_internal_pb2.Record.FromString(data) for data in wandb_records(path.read_bytes())]
        if records and records[-1].WhichOneof("record_type") == "exit":
            return records
        assert time.monotonic() < deadline, f"{path} has {len(records)} records and no end"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="s2a[wandb]")

    settings = {"MODE": "offline", "SILENT": "true", "CONFIG_DIR": str(tmp_path), "CACHE_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    follow("wandb", tmp_path / "run-1")
    (path,) = tmp_path.glob("run-1/wandb/offline-run-*/*.wandb")
    rows: dict[str, list[str]] = {}
    for record in whole_wandb_run(path):
        for item in record.history.item:
            rows.setdefault(item.key or "/".join(item.nested_key), []).append(item.value_json)
    assert [float(value) for value in rows["step/loss"]] == [2.0, 1.0]
    assert [float(value) for value in rows["run/accuracy"]] == [0.75]


def test_what_there_is_not_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="tensorboard, mlflow, wandb"):
        require_tracker("neptune")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 's2a\[mlflow\]'"):
        require_tracker("mlflow")


def test_a_tracker_that_fails_is_reported_once_and_the_run_goes_on() -> None:
    class Away:
        def scalars(self, values: Any, step: int) -> None:
            raise ConnectionError("the server is away")

        def close(self) -> None: ...

    passed: list[dict[str, Any]] = []
    tracking = Tracking("mlflow", Away(), passed.append)
    for event in STEPS:
        tracking(event)
    warnings = [event["message"] for event in passed if event["type"] == "warning"]
    assert warnings == ["mlflow is no longer told of this run: ConnectionError: the server is away"]
    assert [event for event in passed if event["type"] == "step"] == STEPS
