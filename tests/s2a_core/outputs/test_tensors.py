"""Every name has its tensor in the file, also where modules share one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from s2a_core.outputs.tensors import save_tensors


def test_weights_that_modules_share_are_written_under_every_name(tmp_path: Path) -> None:
    shared = nn.Conv2d(3, 3, 1)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.BatchNorm2d(3))
    state = {**model.state_dict(), "view": shared.weight.detach()[:1], "empty": torch.empty(0), "none": torch.empty(0)}
    save_tensors(state, tmp_path / "t.safetensors", {"format": "pt"})
    loaded = load_file(tmp_path / "t.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    del loaded["view"], loaded["empty"], loaded["none"]
    model.load_state_dict(loaded)
