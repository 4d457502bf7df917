"""How frozen weights are kept: in a narrower dtype, so that autocast makes no second copy, and large ones as codes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from s2a_core.errors import InvalidInput
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.operators.weight_codes import WeightCodes
from s2a_core.storage import WEIGHT_FORMATS, FrozenWeights, WeightFormat

CODED_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
SMALLEST_CODED = 4096  # elements: all the smaller weights of a model together are a thousandth of it


def prepare_frozen_weights(
    model: nn.Module, how: FrozenWeights, weight_format: WeightFormat = "float", wide_weights: Collection[str] = ()
) -> int:
    """Casts frozen fp32 parameters in place, codes the large ones, and returns the bytes saved.

    Trainable parameters stay as they are, and those beside statistics (see `narrowed_numbers`). how: `keep` casts
    nothing; `bf16` halves fp32 weights. weight_format, wide_weights: see `narrow_weights`. Running it twice changes
    nothing.
    """
    if how not in ("keep", "bf16"):
        raise InvalidInput(
            f"frozen weights can be kept as they are (keep) or in bf16, not {how!r}", details={"value": how}
        )
    saved = narrow_weights(model, weight_format, wide_weights)
    for parameter in _narrowed(model) if how == "bf16" else ():
        if parameter.dtype == torch.float32:  # of codes: what they decode to
            before = parameter.untyped_storage().nbytes()
            parameter.data = parameter.data.to(torch.bfloat16)
            saved += before - parameter.untyped_storage().nbytes()
    return saved


def narrowed_numbers(model: nn.Module) -> list[nn.Parameter]:
    """The frozen parameters kept as numbers that `bf16` keeps in that dtype."""
    return [p for p in _narrowed(model) if is_frozen_number(p)]


def _narrowed(model: nn.Module) -> list[nn.Parameter]:
    """The frozen parameters but for scales and shifts beside statistics.

    Stock's batch norm takes those in the statistics' fp32 alone: each would be cast in every step.
    """
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase))
    beside = {id(p) for norm in norms for p in norm.parameters(False)}
    return [p for p in model.parameters() if not p.requires_grad and id(p) not in beside]


def is_frozen_number(parameter: Tensor) -> bool:
    """Whether a parameter is frozen and kept as numbers rather than codes."""
    is_number = parameter.is_floating_point() and not isinstance(parameter, NarrowWeight)
    return is_number and not parameter.requires_grad


def narrow_weights(model: nn.Module, weight_format: WeightFormat, wide_weights: Collection[str] = ()) -> int:
    """Replaces the frozen weights of linear layers, convolutions and embeddings by codes; returns the bytes saved.

    weight_format: `float` does nothing; `int8`: 8 bits, a scale and zero per output channel; `nf4`: 4.25 bits.
    wide_weights: parameters that stay numbers, by name. Weights that are coded already stay. One layer at a time:
    beside the model no more than one weight and its code is alive.
    Not coded: weights below SMALLEST_CODED elements, and of layers that read them otherwise than in their product.
    Raises InvalidInput for another format.
    """
    if weight_format not in WEIGHT_FORMATS:
        raise InvalidInput(
            f"weights can be kept as {', '.join(WEIGHT_FORMATS)}, not {weight_format!r}",
            details={"value": weight_format, "allowed": list(WEIGHT_FORMATS)},
        )
    if weight_format == "float":
        return 0
    saved, coded = 0, dict[int, nn.Parameter]()
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        is_wide = f"{name}.weight".lstrip(".") in wide_weights
        if weight is None or not _can_be_coded(module, weight) or (is_wide and isinstance(weight, NarrowWeight)):
            continue
        if id(weight) not in coded:
            codes = WeightCodes.of(weight, "float" if is_wide else weight_format)
            plain = weight.decoded() if isinstance(weight, NarrowWeight) else weight
            coded[id(weight)] = nn.Parameter(NarrowWeight.of(codes.encode(plain), codes), requires_grad=False)
            saved += weight.untyped_storage().nbytes() - codes.num_bytes
        module._parameters["weight"] = coded[id(weight)]
    return saved


def _can_be_coded(module: nn.Module, weight: nn.Parameter) -> bool:
    """Whether a layer's weight is frozen, large and read by its own product alone."""
    reads_otherwise = hasattr(module, "eps") or isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
    return (
        isinstance(module, CODED_LAYERS)
        and not reads_otherwise  # timm's StdConv2d normalises its weight, attention of torch.nn hands it on
        and not (isinstance(weight, NarrowWeight) and weight.codes.format != "float")
        and not weight.requires_grad
        and weight.is_floating_point()
        and weight.numel() >= SMALLEST_CODED
    )


def put_back(model: nn.Module, numbers: Mapping[str, Tensor]) -> None:
    """Makes coded weights numbers again, in the dtype that the codes stand in. numbers: what each was, by name."""
    parameters, wide = dict(model.named_parameters()), dict[int, nn.Parameter]()
    for name, weight in numbers.items():
        coded = parameters[name]
        if isinstance(coded, NarrowWeight):
            codes = replace(WeightCodes.of(weight, "float"), dtype=coded.codes.dtype)
            wide[id(coded)] = nn.Parameter(NarrowWeight.of(codes.encode(weight), codes), requires_grad=False)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in wide:
                module._parameters[name] = wide[id(parameter)]


def widen_weights(model: nn.Module) -> nn.Module:
    """The model, in place, with its coded weights as plain ones of the same values."""
    widened: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, NarrowWeight):
                if id(parameter) not in widened:
                    widened[id(parameter)] = nn.Parameter(parameter.decoded(), requires_grad=False)
                module._parameters[name] = widened[id(parameter)]
    return model


def plain_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """`model.state_dict()` with coded weights decoded, in the machine's memory: a device's is the budget."""
    return {
        name: cast(NarrowWeight, tensor.cpu()).decoded() if isinstance(tensor, NarrowWeight) else tensor
        for name, tensor in model.state_dict().items()
    }


def weight_format_of(model: nn.Module) -> WeightFormat:
    """How the large frozen weights of a model are kept."""
    formats = {p.codes.format for p in model.parameters() if isinstance(p, NarrowWeight)}
    return "nf4" if "nf4" in formats else "int8" if formats else "float"


def needs_matching(model: nn.Module) -> bool:
    """Whether stock PyTorch would fail on the parameters as they are.

    Some are 16 bits wide and others are not, as after `prepare_frozen_weights`; or, on CUDA, a layer norm trains its
    bias alone (see operators/stock.py).
    """
    if len({p.dtype for p in model.parameters() if p.is_floating_point()}) > 1:
        return True
    return any(
        isinstance(module, nn.LayerNorm)
        and module.bias is not None
        and module.bias.is_cuda
        and module.bias.requires_grad
        and not module.weight.requires_grad
        for module in model.modules()
    )
