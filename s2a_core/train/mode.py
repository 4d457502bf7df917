"""Which modules stay in evaluation mode while a model is trained; profiles and verification run as training does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from s2a_core.adapters.spec import FULL


def resting_modules(model: nn.Module, adapter: str) -> list[nn.Module]:
    """What stays in evaluation mode while `adapter` is trained: to be asked before the first step.

    BatchNorm keeps pretrained statistics: with estimates from batches of 25 MobileNetV2's full fine-tuning reached 48 %
    at the best of five rates (docs/accuracy/sweep.jsonl), with pretrained ones 64 to 66 % at 3e-4. Where full training
    begins with random weights it estimates them. Paths are dropped in full training only.
    """
    is_full = adapter == FULL
    resting: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if not hasattr(module, "s2a_rests"):  # a run that is planned again goes on as it began
                module.s2a_rests = not is_full or _has_statistics(module)  # type: ignore[assignment]
            if module.s2a_rests:
                resting.append(module)
        elif type(module).__name__ == "DropPath" and not is_full:
            resting.append(module)
    return resting


def _has_statistics(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Whether the statistics were estimated on data, or are the zeros and ones of a random network."""
    if norm.running_mean is None or norm.running_var is None:
        return False
    return bool(norm.running_mean.any()) or bool((norm.running_var != 1).any())


def training_mode(model: nn.Module, resting: Sequence[nn.Module]) -> None:
    """Training mode, but for the modules that rest."""
    model.train()
    for module in resting:
        module.eval()


def rest_batch_norms(model: nn.Module) -> None:
    """Every BatchNorm in evaluation mode until `training_mode`: one sample left over is nothing to estimate from.

    Where its map is a single value BatchNorm refuses it.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
