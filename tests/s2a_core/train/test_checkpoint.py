"""A checkpoint brings back the generators, and refuses another run."""

import contextlib
import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2a_core.errors import InvalidInput
from s2a_core.train.checkpoint import drop_checkpoint, load_checkpoint, save_checkpoint
from tests.s2a_core.train import interrupted


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"identity": "a", "epoch": 1})
    expected = draws()
    state = load_checkpoint(tmp_path, "a")
    assert state is not None
    assert state["epoch"] == 1
    assert draws() == expected


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"identity": "a"})
    with pytest.raises(InvalidInput, match="another run"):
        load_checkpoint(tmp_path, "b")
    drop_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path, "b") is None


def test_a_damaged_checkpoint_says_what_to_do_and_parts_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"rubbish")
    (tmp_path / ".checkpoint.pt.abc.part").write_bytes(b"half")
    with pytest.raises(InvalidInput, match="delete it to train from the beginning"):
        load_checkpoint(tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_killed_at_twenty_random_moments_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.s2a_core.train.interrupted"])
    moments = random.Random(5)

    def start(output: Path) -> tuple[Any, Any]:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=interrupted.run, args=(output, sender))
        process.start()
        sender.close()
        return process, receiver

    for name, kills in (("whole", 0), ("killed", 20)):
        (tmp_path / name).mkdir()
        for _ in range(kills):
            process, steps = start(tmp_path / name)
            for _ in range(moments.randint(1, 2)):
                steps.recv()
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            steps.close()
        process, steps = start(tmp_path / name)
        seen = []
        with contextlib.suppress(EOFError):
            while True:
                seen.append(steps.recv())
        process.join()
        assert process.exitcode == 0
        assert seen[-1] == interrupted.STEPS
        assert (seen[0] > 1) == (kills > 0)
    whole, killed = (torch.load(tmp_path / name / "final.pt", weights_only=True) for name in ("whole", "killed"))
    assert all(torch.equal(killed[key], value) for key, value in whole.items())
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["final.pt"]
