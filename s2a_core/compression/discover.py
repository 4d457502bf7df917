"""One pass over a model that lists its sites, and the regions and blocks that could absorb them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from s2a_core.batches import Samples, forward, repeated
from s2a_core.compression.pending import PendingNorm, evaluated, value_of
from s2a_core.compression.record import Recorder, SiteList, SiteSpec
from s2a_core.compression.regions import BLOCK, REGION
from s2a_core.compression.session import Session, require_visible_calls
from s2a_core.compression.watch import dropping
from s2a_core.device import is_device_failure, is_out_of_memory
from s2a_core.hooks import RebuildableHooks
from s2a_core.operators import storages_of
from s2a_core.operators.batch_norm import batch_norms, uses_batch_statistics
from s2a_core.storage import StoragePolicy, uniform_storage

_Shape = tuple[torch.Size, torch.dtype]


class _Survey:
    """Watches one forward pass: which modules a pending norm enters, and which the residual stream."""

    def __init__(self, model: nn.Module, sites: SiteList) -> None:
        self.sites = sites
        self.regions: dict[str, _Shape] = {}
        self.blocks: dict[str, _Shape] = {}
        self.entered: list[tuple[str, str]] = []  # open candidates: (kind, module name)
        self.members: dict[str, list[int]] = {}  # candidate site -> positions of the sites inside
        self.before: list[tuple[Tensor, dict[Tensor, int]]] = []  # input of each open candidate, and versions
        self.norm_of: dict[str, str] = {}
        self.repeated = set(_repeated(model))
        self.hooks = RebuildableHooks(model)

    def enter(self, module: nn.Module, name: str, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Pre-hook: opens a candidate. A pending norm that opened a region is evaluated for the modules inside."""
        first = args[0] if args else None
        if not isinstance(first, Tensor) or not _has_inside(module):
            return None
        if uses_batch_statistics(batch_norms(module)) or not self.hooks.allow(name):
            return None
        if isinstance(first, PendingNorm):
            if first.value is None and first.raw.dim() >= 3:
                self.regions[name] = first.raw.shape, first.raw.dtype
                self.norm_of[name] = first.call.site
                self._open(REGION, module, name, value_of(first))
            return tuple(evaluated(list(args)))
        if name in self.repeated and first.dim() >= 3 and _only_tensor(args) and _num_products(module) >= 2:
            self.blocks[name] = first.shape, first.dtype
            self._open(BLOCK, module, name, first)
        return None

    def _open(self, kind: str, module: nn.Module, name: str, x: Tensor) -> None:
        self.entered.append((kind, name))
        self.before.append((x, _versions(module, x)))
        self.members[name + kind] = [len(self.sites.specs)]

    def leave(self, module: nn.Module, name: str, output: Any) -> None:
        """Forward hook: closes a candidate; drops one that does not return a row per row of its input, or that changes
        its input or its buffers, as running statistics: rebuilt in chunks it would change them again and again.
        """
        if not self.entered or self.entered[-1][1] != name:
            return
        kind, _ = self.entered.pop()
        self.members[name + kind].append(len(self.sites.specs))
        candidates = self.regions if kind == REGION else self.blocks
        x, versions = self.before.pop()
        has_rows = isinstance(output, Tensor) and output.shape[:1] == candidates[name][0][:1]
        if not has_rows or versions != _versions(module, x):
            candidates.pop(name, None)


def _versions(module: nn.Module, x: Tensor) -> dict[Tensor, int]:
    """A module's input and buffers with the number of changes in place of each."""
    return {tensor: tensor._version for tensor in (x, *module.buffers())}


def _repeated(model: nn.Module) -> Iterator[str]:
    """Names of modules that stand in a row: children of a sequence, or of a parent with several of their class."""
    for name, parent in model.named_modules():
        children = dict(parent.named_children())
        classes = Counter(type(child) for child in children.values())
        for child_name, child in children.items():
            if isinstance(parent, nn.Sequential | nn.ModuleList) or classes[type(child)] > 1:
                yield f"{name}.{child_name}" if name else child_name


def _innermost(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Names that contain none of the others."""
    inner = list(others)
    return [name for name in names if not any(other.startswith(f"{name}.") for other in inner)]


def _has_inside(module: nn.Module) -> bool:
    """Whether it is more than one layer. With LoRA around it, where peft keeps it as `base_layer`, it still is one."""
    if hasattr(module, "base_layer"):
        return False
    return next(module.children(), None) is not None and next(module.parameters(), None) is not None


def _num_products(module: nn.Module) -> int:
    """Linear and convolution layers inside: a block worth rebuilding has at least two."""
    weights = (getattr(m, "weight", None) for m in module.modules() if next(m.children(), None) is None)
    return sum(isinstance(w, Tensor) and w.dim() >= 2 for w in weights)


def _only_tensor(args: tuple[Any, ...]) -> bool:
    return not any(isinstance(a, Tensor) and a.requires_grad for a in args[1:])


def discover(model: nn.Module, x: Tensor | Samples, precision: str = "fp32") -> tuple[SiteSpec, ...]:
    """Sites of a model in forward order, with the region and block each belongs to. x: images [B, 3, H, W], or samples;
    one is taken twice, as whether samples see each other takes two.

    precision: `bf16` runs under autocast. A region or block stands before the sites inside it. Raises InvalidInput for
    a model with compiled modules.
    """
    require_visible_calls(model)
    x = x if len(x) > 1 else repeated(x, 2)
    return dropping(lambda recorders: _discovered(model, x, precision, recorders))


def _discovered(
    model: nn.Module, x: Tensor | Samples, precision: str, recorders: Sequence[Recorder]
) -> tuple[SiteSpec, ...]:
    sites = SiteList()
    session = Session(model, StoragePolicy(), recorders=(sites, *recorders), defers_norms=True)
    survey = _Survey(model, sites)
    handles = []
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"), session:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda m, a, n=name: survey.enter(m, n, a)))
            handles.append(module.register_forward_hook(lambda m, a, out, n=name: survey.leave(m, n, out)))
        try:
            forward(model, x)
        finally:
            for handle in handles:
                handle.remove()
        mixing = _mixing(model, x, {*survey.regions, *survey.blocks})
    for name in mixing:
        survey.regions.pop(name, None)
        survey.blocks.pop(name, None)
    return _assembled(sites.specs, survey)


@torch.no_grad()
def _mixing(model: nn.Module, x: Tensor | Samples, names: set[str]) -> set[str]:
    """Those of the modules whose rows see each other, which no chunk of rows can rebuild."""
    calls: dict[str, tuple[nn.Module, Any, Any]] = {}

    def keep(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        half = len(args[0]) // 2
        calls.pop(name, None)  # of a module that is called again the last call counts
        if half and not output[:half].isnan().any():
            calls[name] = module, *_moved((args, kwargs), "cpu")  # a device holds one module's inputs at a time

    handles = [
        model.get_submodule(name).register_forward_hook(functools.partial(keep, name), with_kwargs=True)
        for name in names
    ]
    try:
        if handles:
            forward(model, x)
    finally:
        for handle in handles:
            handle.remove()
    # After the model's pass: hooks of its own, as those that collect hidden states, would see these calls too.
    device = x.device
    return {name for name, (module, *call) in calls.items() if _sees_other_rows(module, *_moved(call, device))}


def _moved(values: Any, device: torch.device | str) -> Any:
    """The same nest of values with its tensors on a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), values)


def _sees_other_rows(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether NaN in the last half of the input comes out in the first. A module that refuses NaN is taken to do so."""
    half = len(args[0]) // 2
    poisoned = args[0].clone()
    poisoned[half:] = float("nan")
    try:
        return bool(module(poisoned, *args[1:], **kwargs)[:half].isnan().any())
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error) or is_device_failure(error):
            raise
        return True


def _assembled(specs: list[SiteSpec], survey: _Survey) -> tuple[SiteSpec, ...]:
    """Sites with the candidates that contain them, candidates first, numbered in forward order."""
    region_of: dict[int, str] = {}
    block_of: dict[int, str] = {}
    blocks = [n for n in _innermost(survey.blocks, survey.blocks) if n not in survey.regions]
    regions = _innermost(survey.regions, [*survey.regions, *blocks])
    for name in regions:
        region_of.update(dict.fromkeys(range(*survey.members[name + REGION]), name + REGION))
    norm_region = {survey.norm_of[name]: name + REGION for name in regions}
    for name in blocks:
        start, end = survey.members[name + BLOCK]
        if end - start >= 2:
            block_of.update(dict.fromkeys(range(start, end), name + BLOCK))
    out: list[SiteSpec] = []
    opened: set[str] = set()
    for i, spec in enumerate(specs):
        region = region_of.get(i) or norm_region.get(spec.name)
        for site, shapes in ((block_of.get(i), survey.blocks), (region, survey.regions)):
            if site is not None and site not in opened:
                opened.add(site)
                kind = "block" if site.endswith(BLOCK) else "region"
                shape, dtype = shapes[site.removesuffix(BLOCK).removesuffix(REGION)]
                parent = block_of.get(i) if kind == "region" else None
                written = str(dtype).removeprefix("torch.")
                out.append(SiteSpec(site, kind, tuple(shape), written, storages_of(kind), None, len(out), parent))
        out.append(replace(spec, region=region, block=block_of.get(i), position=len(out)))
    return tuple(out)


def uniform_policy(specs: tuple[SiteSpec, ...], bits: int, recompute: bool = False, **options: Any) -> StoragePolicy:
    """Every site at one width, as `uniform_storage` has it; options: the policy's other fields."""
    sites = {spec.name: uniform_storage(spec.op, spec.shape[1:], spec.options, bits, recompute) for spec in specs}
    return StoragePolicy(sites=sites, **options)
