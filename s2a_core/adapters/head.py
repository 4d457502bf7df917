"""The head of any model: the layers that are trained whatever the adapter is, found or named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from s2a_core.adapters.blocks import repeated_blocks
from s2a_core.errors import BadAdapter

FOUND = "auto"
# What timm, torchvision and transformers call the children of a model that make its answer of a backbone's features.
USUAL_NAMES = (
    "classifier", "head", "heads", "head_dist", "fc", "score", "decode_head", "auxiliary_head", "aux_classifier",
    "class_labels_classifier", "bbox_predictor", "class_embed", "bbox_embed", "lm_head", "cls", "qa_outputs",
)  # fmt: skip
ATTRIBUTE = "s2a_head"  # of a model with adapters: the names of its head's parameters


def head_modules(model: nn.Module, head: str | Sequence[str] | None = FOUND) -> list[nn.Module]:
    """The modules of the head.

    head: names of modules, None for no head, or "auto": what timm calls the classifier, else children of usual names,
    else the last layer with a weight that is no part of a repeated block.
    Raises BadAdapter for a name that the model does not have.
    """
    if head is None:
        return []
    if head != FOUND:
        return [_named(model, name) for name in ([head] if isinstance(head, str) else head)]
    find: Any = getattr(model, "get_classifier", None)
    if callable(find):
        classifier = find()
        heads = classifier if isinstance(classifier, (list, tuple)) else [classifier]
        return [module for module in heads if isinstance(module, nn.Module)]
    usual = [module for name, module in model.named_children() if name in USUAL_NAMES]
    return usual or _last_layer(model)


def head_parameters(model: nn.Module) -> set[str]:
    """Names of the head's parameters: those that add_adapters trained, otherwise of what is found."""
    recorded: Any = getattr(model, ATTRIBUTE, None)
    return set(recorded) if recorded is not None else parameter_names(model, head_modules(model))


def parameter_names(model: nn.Module, modules: Iterable[nn.Module]) -> set[str]:
    """Names in the model of the parameters of some of its modules."""
    members = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in members}


def _named(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules or not name:
        near = [known for known in modules if known.count(".") == 0 and known]
        raise BadAdapter(
            f"the model has no module {name!r} for a head; its children are {', '.join(near)}",
            details={"head": name, "allowed": near},
        )
    return modules[name]


def _last_layer(model: nn.Module) -> list[nn.Module]:
    """The last linear layer or convolution that is outside the repeated blocks."""
    blocks = [f"{name}." for name, _ in repeated_blocks(model)]
    layers: list[nn.Module] = [
        module for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not any(name.startswith(block) for block in blocks)
    ]  # fmt: skip
    return layers[-1:]
