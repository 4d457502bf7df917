"""Refuses `torch.utils.checkpoint` around what a plan stores in few bits: it would recompute other tensors than it saw.

Both trade time for the same memory, and a plan that was made beside checkpoints promises a peak that it cannot keep.
"""

from __future__ import annotations

from typing import Any

import torch

from s2a_core.errors import InvalidInput

_autograd: Any = torch._C._autograd  # type: ignore[attr-defined]


def refuse_checkpoint(name: str) -> None:
    """Raises InvalidInput where the call of a module or site runs inside a checkpoint that recomputes it."""
    hooks = _autograd._top_saved_tensors_default_hooks(True)
    if hooks is not None and hooks[0].__module__ == torch.utils.checkpoint.__name__:
        raise InvalidInput(
            f"{name!r} runs inside torch.utils.checkpoint, and the plan stores what it keeps in few bits already: turn "
            "checkpointing off (timm: model.set_grad_checkpointing(False), transformers: "
            "model.gradient_checkpointing_disable()) and plan again; regions and blocks of a plan recompute for less",
            details={"inside": name},
        )
