"""Regions: `norm -> module`, or a whole block, that keep only codes of their input and rebuild the rest chunk by chunk.

Forward, for each chunk of samples: x̂ = (x - mean) / std is coded and the module runs without autograd, so nothing of
its inside outlives the chunk. Backward, for each chunk: x̂ is decoded, the module runs again with autograd, its last
linear left out because no gradient reads its output, and dx follows from x̂ and 1/std. Held: x̂ at b bits and 1/std.
Working set: one chunk. A block has no norm of its own in front: its input itself is coded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core import kernels
from s2a_core.batches import tensors_in
from s2a_core.compression.checkpoints import refuse_checkpoint
from s2a_core.compression.intercept import Interceptor
from s2a_core.compression.layout import changeable, rows_like
from s2a_core.compression.pending import PendingNorm, evaluated
from s2a_core.compression.randomness import GeneratorState, generator_state, has_drawn_since, replayed
from s2a_core.compression.replay import ReplayMode, without_output_of
from s2a_core.compression.totals import GradientTotals
from s2a_core.compression.watched import MOST_PASSES, PassKey, pass_key
from s2a_core.hooks import without_gradient_hooks
from s2a_core.operators import Intent, Site
from s2a_core.operators.batch_norm import batch_norms, uses_batch_statistics
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.norms import NormCall
from s2a_core.operators.packed import PackedShape, decode, encode
from s2a_core.storage import Storage

REGION = ":region"
BLOCK = ":block"


class Region:
    """A module that a plan runs as a region or a block: what does not change from step to step."""

    def __init__(self, module: nn.Module, name: str, storage: Storage, is_block: bool) -> None:
        self.module, self.storage, self.is_block = module, storage, is_block
        self.site = f"{name}{BLOCK if is_block else REGION}"
        self.parameters = list(module.parameters())
        self.batch_norms = batch_norms(module)
        self.linears = {id(m.weight): m for m in module.modules() if type(m) is nn.Linear}
        self.unread_of: dict[Any, nn.Linear | None] = {}  # by pass: see RegionCall.unread; where no mode is needed


@dataclass
class RegionCall:
    """One call of a region: everything but tensors that need a gradient."""

    interceptor: Interceptor
    region: Region
    forward: Callable[..., Any]
    norm: NormCall | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows_per_sample: int
    rows_per_chunk: int
    autocast: tuple[str, torch.dtype, bool]
    generator_states: list[GeneratorState | None] = field(default_factory=list)
    phantom: int = -1
    needs_mode: bool = True  # in backward: whether the calls of the module must be watched again
    unread: nn.Linear | None = None  # in backward, without a mode: the layer whose output nobody reads
    key: PassKey | None = None  # what the calls of the module depend on
    reread: list[Tensor] = field(default_factory=list)  # what backward reads as it is then, and the sum of its versions
    version: int = 0

    @property
    def bits(self) -> int:
        """Of the codes of what the region starts from."""
        return self.region.storage.bits or 8

    @contextmanager
    def running(self, mode: ReplayMode | None, unread: nn.Linear | None = None) -> Iterator[None]:
        """The module runs as in the forward pass: its autocast, nothing intercepted, nothing coded."""
        device, dtype, enabled = self.autocast
        self.interceptor.paused += 1
        was_on = self.interceptor.switch(False)  # nothing to do there: calls need not go by it
        try:
            with ExitStack() as stack:
                if (dtype, enabled) != (torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)):
                    stack.enter_context(torch.autocast(device, dtype, enabled=enabled))
                if mode is not None:
                    stack.enter_context(mode)
                if unread is not None:
                    stack.enter_context(without_output_of(unread))
                yield
        finally:
            self.interceptor.switch(was_on)
            self.interceptor.paused -= 1

    def learn(self, mode: ReplayMode) -> None:
        """What backward needs of the calls that the module made in forward."""
        self.phantom = mode.last_unread
        weight = mode.weights[self.phantom] if self.phantom >= 0 else None
        layer = self.region.linears.get(id(weight))
        is_once = layer is not None and layer.weight is weight and sum(w is weight for w in mode.weights) == 1
        self.unread = layer if is_once else None
        self.needs_mode = mode.has_matched or (weight is not None and self.unread is None)
        if self.key is not None and not (self.needs_mode or mode.has_branched):
            if len(self.region.unread_of) >= MOST_PASSES:
                self.region.unread_of.clear()
            self.region.unread_of[self.key] = self.unread

    def recall(self) -> bool:
        """Whether an earlier call like this one showed what backward needs, and that no call need be watched."""
        is_known = self.key in self.region.unread_of
        if is_known:
            self.unread, self.needs_mode = self.region.unread_of[self.key], False
        return is_known

    def require_unchanged(self) -> None:
        """Raises RuntimeError, as autograd does, where backward would read what forward did not."""
        with torch._C.DisableTorchFunction():
            version = sum(tensor._version for tensor in self.reread)
        if version != self.version:
            raise RuntimeError(
                f"{self.region.site} is rebuilt in backward, and a parameter or an argument of it has been modified by "
                "an inplace operation: call backward() before optimizer.step()"
            )

    def chunks(self, num_rows: int) -> Iterator[slice]:
        """Row ranges of the chunks."""
        step = self.rows_per_chunk or max(num_rows, 1)
        for start in range(0, num_rows, step):
            yield slice(start, min(start + step, num_rows))

    def run(self, h: Tensor) -> Tensor:
        """The module on one chunk."""
        result: Tensor = self.forward(h, *self.args, **self.kwargs)
        return result

    def enter(self, x: Tensor, is_training: bool) -> tuple[Tensor, tuple[list[Tensor], PackedShape] | None]:
        """What the module reads for a chunk of x, and, in training, what is kept: codes (and 1/std) and their shape.

        One group of codes per channel over all tokens of a sample. x: [rows, ..., C].
        """
        samples = max(x.shape[0] // self.rows_per_sample, 1)
        if self.norm is None:
            if not is_training:
                return x, None
            is_map = x.dim() == 4 and _is_map(x)
            rows, layout = (x, "maps") if is_map else (x.reshape(samples, -1, x.shape[-1]), "tokens")
            payload, packed = encode(rows, self.bits, layout)  # type: ignore[arg-type]
            return x, ([payload], packed)
        norm, shape = self.norm, (samples, x.numel() // max(samples * x.shape[-1], 1), x.shape[-1])
        if is_training:
            packed = PackedShape(shape, x.dtype, self.bits, "tokens")
            h, payload, rstd = kernels.norm_fwd(
                x, norm.weight, norm.bias, norm.eps, self.bits, shape[1], norm.subtracts_mean
            )
            return h, ([payload, rstd], packed)
        normalized, _ = kernels.normalize(x, norm.eps, norm.subtracts_mean)
        return norm.affine(normalized, x.dtype), None

    def reenter(self, payload: Tensor, packed: PackedShape, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """What the module reads for a chunk, from its codes. shape: of the whole input."""
        decoded = decode(payload, packed).reshape(-1, *shape[1:])
        if self.norm is None:
            return decoded
        return self.norm.affine_(decoded).to(dtype)


def _is_map(x: Tensor) -> bool:
    """B x C x H x W rather than B x H x W x C: what the memory format says, else the larger of C and W."""
    return x.is_contiguous(memory_format=torch.channels_last) or x.shape[1] >= x.shape[3]


class RegionFunction(StoringFunction):
    """y = module(norm(x)) or block(x). x: [rows, ...]. Saves codes of x̂ (or x) and 1/std, per chunk."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: RegionCall, is_training: bool, *parameters: Tensor) -> Tensor:
        saved: list[Tensor] = []
        ctx.packed, ctx.call, ctx.shape, ctx.dtype = [], call, tuple(x.shape), x.dtype
        out: Tensor | None = None
        chunks = list(call.chunks(x.shape[0]))
        mode = None if call.recall() else ReplayMode()
        with call.running(mode):
            for rows in chunks:
                h, coded = call.enter(x[rows], is_training)
                if coded is not None:
                    saved += coded[0]
                    ctx.packed.append(coded[1])
                call.generator_states.append(generator_state(x) if is_training else None)
                if mode is not None:
                    mode.begin()
                y = call.run(h)
                if mode is not None:
                    call.learn(mode)
                if not has_drawn_since(call.generator_states[-1], x):
                    call.generator_states[-1] = None
                if len(chunks) == 1:
                    out = changeable(y, x)
                else:
                    if out is None:
                        out = rows_like(y, x.shape[0], y.dtype)
                    out[rows] = y
                del y, h
        if call.autocast[2] and any(p.requires_grad for p in call.region.parameters):
            torch.clear_autocast_cache()  # copies of its weights that would live as long as the model's forward pass
        ctx.save_for_backward(*saved)
        assert out is not None
        return out

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        call: RegionCall = ctx.call
        saved = list(ctx.saved_tensors)
        inner, of_norm = _trained(call)
        chunks, needs_dx = list(call.chunks(ctx.shape[0])), ctx.needs_input_grad[0]
        totals = GradientTotals(inner, len(of_norm), len(chunks))
        dx: Tensor | None = None
        needs_input, per_chunk = needs_dx or bool(of_norm), 1 if call.norm is None else 2
        mode = ReplayMode(call.phantom) if call.needs_mode else None
        call.require_unchanged()
        running = call.running(mode, None if call.needs_mode else call.unread)
        with running, without_gradient_hooks(inner), totals.adding_large():
            for i, rows in enumerate(chunks):
                h = call.reenter(saved[i * per_chunk], ctx.packed[i], ctx.shape, ctx.dtype)
                h.requires_grad_(needs_input)
                if mode is not None:
                    mode.begin()
                with torch.enable_grad(), replayed(call.generator_states[i], dy):
                    y = call.run(h)
                inputs = [*([h] if needs_input else []), *inner]
                grads: list[Tensor | None] = [None] * len(inputs)
                if y.requires_grad:  # not where hooks around the module use its parameters, and it does not
                    grads = list(torch.autograd.grad(y, inputs, dy[rows].to(y.dtype), allow_unused=True))
                del y
                g = grads.pop(0) if needs_input else None
                if g is None and needs_input:
                    g = torch.zeros_like(h)
                del h
                if call.norm is not None and g is not None:
                    g, dw, db = kernels.norm_bwd(
                        g, saved[2 * i], saved[2 * i + 1], call.norm.weight, ctx.packed[i].grouped, call.bits,
                        call.norm.subtracts_mean, needs_weight_grad=trains(call.norm.weight),
                    )  # fmt: skip
                    grads += [d for d, p in ((dw, call.norm.weight), (db, call.norm.bias)) if trains(p)]
                if needs_dx and g is not None:
                    if len(chunks) == 1:
                        dx = g.to(ctx.dtype)
                    else:
                        dx = rows_like(g, ctx.shape[0], ctx.dtype) if dx is None else dx
                        dx[rows] = g
                del g
                totals.add_chunk(grads)
                del grads
        return dx, None, None, *totals.sums


def _trained(call: RegionCall) -> tuple[list[Tensor], list[Tensor]]:
    """Trainable parameters of a region's module, and of its norm, each in a fixed order."""
    of_norm = [] if call.norm is None else [p for p in (call.norm.weight, call.norm.bias) if trains(p)]
    return [p for p in call.region.parameters if p.requires_grad], [p for p in of_norm if p is not None]


def trains(parameter: Tensor | None) -> bool:
    """Whether a parameter is there and wants a gradient."""
    return parameter is not None and parameter.requires_grad


def run_region(interceptor: Interceptor, region: Region, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Runs a module as a region or block where the call has the form of one."""
    first = args[0] if args else None
    pending = first if isinstance(first, PendingNorm) and first.value is None and not region.is_block else None
    as_block = region.is_block and isinstance(first, Tensor)
    if interceptor.paused or not (as_block or pending is not None):
        return forward(*args, **kwargs)
    refuse_checkpoint(region.site)
    if pending is not None:
        interceptor.takes_pending(pending)
    x: Tensor = evaluated(first) if pending is None else pending.raw
    rest, kwargs = evaluated((args[1:], kwargs))
    with torch._C.DisableTorchFunction():  # what is asked of tensors here is no call of the model's
        call = _region_call(interceptor, region, forward, x, None if pending is None else pending.call, rest, kwargs)
        parameters = [] if call is None else [p for part in _trained(call) for p in part]
        is_training = torch.is_grad_enabled() and (x.requires_grad or bool(parameters))
        if call is not None and is_training:
            call.version = sum(tensor._version for tensor in call.reread)
    if call is None:
        return forward(x if as_block else first, *rest, **kwargs)
    site = Site(region.site, "block" if region.is_block else "region", region.storage, Intent.REGION)
    return interceptor.attributed(site, RegionFunction.apply, x, call, is_training, *parameters)


def _region_call(
    interceptor: Interceptor, region: Region, forward: Callable[..., Any], x: Tensor, norm: NormCall | None,
    args: tuple[Any, ...], kwargs: dict[str, Any],
) -> RegionCall | None:  # fmt: skip
    """How a region runs on x and what is passed beside it; None where it must run as its module does."""
    beside = list(tensors_in((args, kwargs)))
    if uses_batch_statistics(region.batch_norms) or any(t.requires_grad for t in beside):
        return None  # a part of the batch, or a second pass, would have other statistics; or a gradient would be missed
    # A tensor with as many rows as x has one for each of them, or is a table for all that happens to be as long.
    has_rows_beside = any(t.dim() > 0 and t.shape[0] == x.shape[0] for t in beside)
    batch, device = interceptor.batch, x.device.type
    rows_per_sample = x.shape[0] // batch if batch and x.shape[0] % batch == 0 else 0
    return RegionCall(
        interceptor=interceptor,
        region=region,
        forward=forward,
        norm=norm,
        args=args,
        kwargs=kwargs,
        rows_per_sample=rows_per_sample or x.shape[0] or 1,
        rows_per_chunk=0 if has_rows_beside else interceptor.policy.chunk_samples * rows_per_sample,
        autocast=(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)),
        reread=[*region.parameters, *beside, *(tensors_in((norm.weight, norm.bias)) if norm else ())],
        key=pass_key((x, args, kwargs, *[p.requires_grad for p in region.parameters]), region.module.training),
    )
