"""lora: low-rank updates of every linear layer and 1 x 1 convolution (Hu et al. 2022, arXiv 2106.09685), by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, Rates

if TYPE_CHECKING:
    from torch import Tensor, nn

    from s2a_core.adapters.backbone import Backbone


def attach(backbone: Backbone, options: Options) -> None:
    """rank * (inputs + outputs) parameters a layer; holds the layers' inputs where nothing rebuilds them."""
    from s2a_core.adapters.lora import add_lora, lora_layers

    add_lora(backbone, lora_layers(backbone), options.rank)


def merge(model: nn.Module, state: dict[str, Tensor]) -> None:
    """W + scaling * B A, under the plain model's names."""
    for name, layer in model.named_modules():
        if not hasattr(layer, "get_base_layer"):
            continue
        delta = layer.get_delta_weight("default")  # type: ignore[operator]
        for key in [key for key in state if key.startswith(f"{name}.")]:
            tensor, leaf = state.pop(key), key.removeprefix(f"{name}.base_layer.")
            if leaf != key:
                state[f"{name}.{leaf}"] = tensor + delta.to(tensor.dtype) if leaf == "weight" else tensor


KIND = Kind(
    "lora", "LoRA on every linear layer", Rates(tokens=2e-3, maps=2e-3), attach, merge=merge, is_combinable=False,
)  # fmt: skip
