"""Scaled dot-product attention that keeps q, k and v in b bits and reruns the attention kernel in backward.

The output and the logsumexp are dropped: an exact logsumexp, or a quantised output, beside quantised q and k
gives gradients that are wrong by 0.4 to 110 times their norm.

The error of a logit grows with the scale. Models that normalise q and k leave out 1 / sqrt(D): with a scale of 1 and
heads of 64 channels, logits are wrong by 8 times as much (8 bits, all 16 blocks of Gemma 4's encoder with random
weights: gradient cosine .9971). There q and k keep log2(scale * sqrt(D)) bits more, the code of what their first code
leaves, and logits are as near as with the usual scale (the same model: .9998).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels import SUPPORTED_DTYPES
from s2a_core.operators.call import Call, Intent, autocast_enabled, check_packable
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.operators.packed import PackedShape, decode, encode
from s2a_core.storage import Storage

MOST_FINER_BITS = 6


class AttentionFunction(StoringFunction):
    """softmax(q k^T * scale + mask) v. q, k, v: [..., N, D]. Saves 3 * N * D * bits / 8 bytes a head, and the mask;
    with `finer_bits` f, 2 * N * D * f / 8 more.

    options: dropout_p, is_causal, scale, enable_gqa as `torch.nn.functional.scaled_dot_product_attention` takes them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        options: dict[str, Any],
        bits: int,
    ) -> Tensor:
        ctx.parts, payloads = [], []
        finer = finer_bits(q.shape[-1], options.get("scale"))
        ctx.is_joint = not finer and lie_in_one_product(q, k, v)
        if ctx.is_joint:
            payload, packed = encode(_product_of(q), bits, "tokens")
            payloads, ctx.parts, ctx.heads = [payload], [[packed]], q.shape[1]
        else:
            for operand, more in ((q, finer), (k, finer), (v, 0)):
                coded = _encode(operand, bits, more)
                payloads += [payload for payload, _ in coded]
                ctx.parts.append([packed for _, packed in coded])
        ctx.options = options
        ctx.rng = _generator_state(q) if options.get("dropout_p") else None
        ctx.save_for_backward(*payloads, mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        *payloads, mask = ctx.saved_tensors
        with torch.enable_grad(), nullcontext() if ctx.rng is None else _drawing_from(ctx.rng, dy):
            if ctx.is_joint:
                (packed,) = ctx.parts[0]
                batch, tokens, channels = packed.shape
                width = channels // (3 * ctx.heads)
                product = decode(payloads.pop(), packed).view(batch, tokens, 3, ctx.heads, width)
                operands = [x.requires_grad_(True) for x in product.permute(2, 0, 3, 1, 4).unbind(0)]
            else:
                operands = [_decode(payloads, parts).requires_grad_(True) for parts in ctx.parts]
            leaf_mask = mask
            if mask is not None and ctx.needs_input_grad[3]:
                leaf_mask = mask.detach().requires_grad_(True)
                operands.append(leaf_mask)
            q, k, v = operands[:3]
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=leaf_mask, **ctx.options)
        grads = _gradients(out, operands, dy)
        dmask = grads[3] if len(grads) > 3 else None
        return grads[0], grads[1], grads[2], dmask, None, None


def _gradients(out: Tensor, operands: list[Tensor], dy: Tensor) -> tuple[Tensor, ...]:
    """Gradients of out = attention(*operands), as `torch.autograd.grad` gives them.

    A fused kernel is one node whose inputs are the operands: it is called as it is, for the engine inside of a backward
    costs the host more than all the rest of this one.
    """
    node: Any = out.grad_fn
    if type(node).__name__.startswith("ScaledDotProduct"):
        sources = [getattr(source, "variable", None) for source, _ in node.next_functions]
        if all(x is y for x, y in zip(sources, operands, strict=False)) and len(sources) >= len(operands):
            grads = node(dy)
            if all(grad is not None for grad in grads[: len(operands)]):
                return tuple(grads[: len(operands)])
    return torch.autograd.grad(out, operands, dy)


def finer_bits(channels: int, scale: float | None) -> int:
    """Bits that q and k need beyond those of v, from the scale of the logits; 0 with the usual 1 / sqrt(channels)."""
    ratio = 1.0 if scale is None else abs(scale) * math.sqrt(channels)
    return min(max(round(math.log2(ratio)), 0), MOST_FINER_BITS) if ratio > 0 else 0


def lie_in_one_product(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether q, k and v [B, H, N, D] are the slices of one [B, N, 3, H, D]: what a layer for all three makes."""
    _, heads, tokens, channels = q.shape if q.dim() == 4 else (0, 0, 0, 0)
    width = heads * channels
    strides = (3 * width * tokens, channels, 3 * width, 1)
    if not width or any(x.stride() != strides or x.shape != q.shape or x.dtype != q.dtype for x in (q, k, v)):
        return False
    step = width * q.element_size()
    start = q.data_ptr()
    return (k.data_ptr(), v.data_ptr()) == (start + step, start + 2 * step) and _same_storage(q, k, v)


def _same_storage(*tensors: Tensor) -> bool:
    return len({x.untyped_storage()._cdata for x in tensors}) == 1


def _product_of(q: Tensor) -> Tensor:
    """The [B, N, 3 * H * D] that q [B, H, N, D] is the first slice of. A group of its codes is one of q, k or v's."""
    batch, heads, tokens, channels = q.shape
    width = 3 * heads * channels
    return q.as_strided((batch, tokens, width), (tokens * width, width, 1))


def _encode(x: Tensor, bits: int, finer: int) -> list[tuple[Tensor, PackedShape]]:
    """Codes of x at `bits` bits and, with `finer`, codes of that many bits of what they leave."""
    first = encode(x, bits, "tokens")
    return [first, encode(x - decode(*first), finer, "tokens")] if finer else [first]


def _decode(payloads: list[Tensor], parts: list[PackedShape]) -> Tensor:
    """The sum of the next parts; takes their payloads out of the list."""
    total = decode(payloads.pop(0), parts[0])
    for packed in parts[1:]:
        total = total.add_(decode(payloads.pop(0), packed))
    return total


@contextmanager
def _drawing_from(state: Tensor, like: Tensor) -> Iterator[None]:
    """Inside, random numbers on the device of `like` are those that this state gives."""
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
        torch.cuda.set_rng_state(state, like.device) if like.is_cuda else torch.set_rng_state(state)
        yield


def _generator_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


class Attention(Operator):
    """F.scaled_dot_product_attention: q, k and v at the site's width."""

    knows = frozenset({"query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"})
    operands = ("query", "key", "value", "attn_mask")
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or codes of 2 to 8 bits."""
        return (Storage.EXACT, *HOOKED_CODES)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments, a mask of numbers in the queries' dtype."""
        given = super().bind(func, args, kwargs)
        if given is not None and isinstance(given["attn_mask"], Tensor) and given["attn_mask"].is_floating_point():
            given["attn_mask"] = given["attn_mask"].to(given["query"].dtype)
        return given

    def listed(self, given: dict[str, Any]) -> Tensor | None:
        """The queries."""
        query: Tensor = given["query"]
        return query

    def without_gradient(self, call: Call) -> Any:
        """Stock with a matched mask."""
        return call.func(**call.given)

    def run(self, call: Call) -> Any:
        """Stock, or with q, k and v packed."""
        if call.site.storage.bits is None:
            return call.func(**call.given)
        options = dict(call.given)
        q, k, v, mask = (_autocast(options.pop(name)) for name in ("query", "key", "value", "attn_mask"))
        check_packable(call.site.name, q)
        call.site.intent = Intent.CODES
        return AttentionFunction.apply(q, k, v, mask, options, call.site.storage.bits)


def _autocast(x: Any) -> Any:
    """x in the dtype autocast would give it: the attention that backward runs again is outside of autocast."""
    if not isinstance(x, Tensor) or x.dtype not in SUPPORTED_DTYPES or not autocast_enabled(x):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


ATTENTION = Attention("attention", F.scaled_dot_product_attention, spellings=("scaled_dot_product_attention",))
