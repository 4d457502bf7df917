"""Scaled dot-product attention that keeps q, k and v in b bits and reruns the attention kernel in backward.

The output and the logsumexp are dropped: an exact logsumexp, or a quantised output, beside quantised q and k
gives gradients that are wrong by 0.4 to 110 times their norm.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core.ops.packed import decode, encode


class AttentionFunction(torch.autograd.Function):
    """softmax(q k^T * scale + mask) v. q, k, v: [..., N, D]. Saves 3 * N * D * bits / 8 bytes a head, and the mask.

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
        seed: int | None,
    ) -> Tensor:
        payloads = []
        ctx.packed = []
        for operand in (q, k, v):
            payload, packed = encode(operand, bits, "tokens", seed)
            payloads.append(payload)
            ctx.packed.append(packed)
        ctx.options = options
        ctx.rng = _generator_state(q) if options.get("dropout_p") else None
        ctx.save_for_backward(*payloads, mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        *payloads, mask = ctx.saved_tensors
        devices = [dy.device] if dy.is_cuda else []
        with torch.enable_grad(), torch.random.fork_rng(devices=devices, enabled=ctx.rng is not None):
            if ctx.rng is not None:
                torch.cuda.set_rng_state(ctx.rng, dy.device) if dy.is_cuda else torch.set_rng_state(ctx.rng)
            operands = [decode(p, s).requires_grad_(True) for p, s in zip(payloads, ctx.packed, strict=True)]
            leaf_mask = mask
            if mask is not None and ctx.needs_input_grad[3]:
                leaf_mask = mask.detach().requires_grad_(True)
                operands.append(leaf_mask)
            q, k, v = operands[:3]
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=leaf_mask, **ctx.options)
        grads = torch.autograd.grad(out, operands, dy)
        dmask = grads[3] if len(grads) > 3 else None
        return grads[0], grads[1], grads[2], dmask, None, None, None


def _generator_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()
