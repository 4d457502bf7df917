"""What one benchmark run measures: models, precisions, contestants, in the order of the tables."""

from __future__ import annotations

import copy
import gc
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.contestants import COMMON, Contestant, DoesNotApply
from benchmarks.ours import UNIFORM
from benchmarks.results import Row
from s2a_core.meter import PeakMeter

log = logging.getLogger(__name__)
CLASSES = 100
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CONTESTANTS: tuple[Contestant, ...] = (*COMMON, *UNIFORM)
# Half an hour is enough for one width of codes and of blocks, and two of regions.
QUICK_CONTESTANTS = tuple(c for c in CONTESTANTS if c.name not in ("s2a bias, codes 2 bit", "s2a bias, blocks 6 bit"))


@dataclass(frozen=True)
class Case:
    """One model in one precision. bf16 is pure: weights, activations and gradients, without autocast's copies.

    The slope between the two batches is what grows with the batch; below about eight images of ViT-B in bf16 the peak
    is still set by the library's copies of weights, which do not grow. Gradients and times: at the smaller batch.
    """

    model: str
    precision: str
    image_size: int = 224
    batches: tuple[int, int] = (6, 12)


QUICK = (
    Case("vit_base_patch16_224", "bf16", batches=(8, 12)),
    Case("deit_tiny_patch16_224", "fp32"),
    Case("swin_tiny_patch4_window7_224", "fp32"),
    Case("convnext_tiny", "fp32"),
    Case("resnet50", "fp32"),
    Case("mobilenetv2_100", "fp32"),
    Case("efficientnet_b0", "fp32"),
)
FULL = (
    *QUICK,
    Case("vit_base_patch16_224", "fp32"),
    Case("vit_small_patch16_224", "fp32"),
    Case("vit_small_patch16_224", "bf16"),
    Case("deit_tiny_patch16_224", "bf16"),
    Case("resnet50", "bf16"),
)


def create(case: Case, weights: Mapping[str, Path], device: str) -> tuple[nn.Module, str]:
    """(the model, the name of its weights): a safetensors file where `weights` has one, else seeded random weights."""
    torch.manual_seed(0)
    keywords: dict[str, Any] = {"img_size": case.image_size} if case.model.startswith(("vit", "deit", "swin")) else {}
    model = timm.create_model(case.model, num_classes=CLASSES, **keywords)
    name = "random"
    if path := weights.get(case.model):
        own = model.state_dict()
        state = {k: v for k, v in load_file(path).items() if k in own and own[k].shape == v.shape}
        model.load_state_dict({**own, **state})
        name = path.name
    else:
        show_every_block(model)
    return model.to(device, DTYPES[case.precision]), name


def show_every_block(model: nn.Module) -> None:
    """Layer scales start at 1e-6, which would hide any error made inside a block of an untrained model: 1 instead."""
    for name, parameter in model.named_parameters():
        if name.endswith("gamma") and parameter.dim() == 1:
            nn.init.ones_(parameter)


def floor(model: nn.Module, x: Tensor) -> dict[str, int]:
    """What no method can go below: the weights, and the temporaries of one sample's forward pass."""
    model.eval()
    with torch.no_grad(), PeakMeter() as meter:
        model(x[:1])
    return {
        "weight_bytes": sum(p.numel() * p.element_size() for p in model.parameters()),
        "forward_working_bytes": meter.peak_bytes,
    }


def model_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers, each storage once."""
    storages = {
        t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers())
    }
    return sum(storages.values())


def gradients_in_fp32(contestant: Contestant, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What every contestant's gradient is compared with: stock PyTorch in fp32, whatever the precision of the case."""
    runner = measure.ready(contestant, copy.deepcopy(model).float(), x.float())
    return measure.gradients(runner, x.float(), y)


def run(
    case: Case,
    contestants: Iterable[Contestant] = CONTESTANTS,
    weights: Mapping[str, Path] | None = None,
    repeats: int = 3,
    device: str = "cpu",
) -> Iterator[Row]:
    """Measure every contestant on one case, one after the other; a row for each, also for those that cannot run."""
    model, weights_name = create(case, weights or {}, device)
    dtype = DTYPES[case.precision]
    batches = [measure.images(b, case.image_size, CLASSES, dtype, device) for b in case.batches]
    x, y = batches[0]
    by_name = {c.name: c for c in COMMON}
    reference = measure.ready(by_name["bias"], model, x)
    exact: dict[str, dict[str, Tensor]] = {}
    common = {
        "model": case.model,
        "precision": case.precision,
        "image_size": case.image_size,
        "batches": case.batches,
        "weights": weights_name,
        "device": device,
    }
    for contestant in contestants:
        named = {**common, "contestant": contestant.name, "kind": contestant.kind}
        log.info("%s %s: %s", case.model, case.precision, contestant.name)
        try:
            runner = measure.ready(contestant, model, x)
            actual = measure.gradients(runner, x, y)
        except DoesNotApply as why:
            yield Row(**named, reason=str(why))  # type: ignore[arg-type]
            continue
        twin = contestant.exact_as or contestant.name
        if twin not in exact:
            exact[twin] = gradients_in_fp32(by_name[twin], model, x, y)
        used = measure.memory(runner, batches)
        is_traced = "compile" in contestant.name
        ratio = None if is_traced else measure.step_ratio(runner, reference, x, y, repeats)[0]
        yield Row(
            **named,  # type: ignore[arg-type]
            trainable_params=sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
            model_bytes=model_bytes(runner.model),
            held_bytes_per_sample=used.held_per_sample,
            peak_bytes_per_sample=used.peak_per_sample,
            peak_bytes=used.peak,
            step_ratio_to_bias=ratio,
            gradient_cosine=measure.cosine(actual, exact[twin]),
        )
        del runner, actual
        torch.compiler.reset()
        gc.collect()
