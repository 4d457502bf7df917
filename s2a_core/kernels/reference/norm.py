"""Layer and RMS normalisation whose backward reads x̂ in b bits and 1/std.

x̂ = (x - mean) * rstd (layer norm) or x * rstd (RMS);  y = x̂ * weight + bias
dx = rstd * (g - mean(g) - x̂ * mean(g * x̂)),  g = dy * weight; RMS has no mean(g)
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2a_core.kernels.layout import packed_bytes, payload_bytes
from s2a_core.kernels.reference.channels import (
    chunk_rows,
    measure,
    range_rule,
    read_codes,
    statistics_of,
    write_codes,
)
from s2a_core.kernels.reference.packing import pack


def normalize(x: Tensor, eps: float, subtract_mean: bool = True) -> tuple[Tensor, Tensor]:
    """x̂ and 1/std over the last dimension. x: [..., C]; returns fp32 [..., C] and fp32 [..., 1]."""
    if subtract_mean:
        normalized, _, rstd = torch.native_layer_norm(x.to(torch.float32), (x.shape[-1],), None, None, eps)
        return normalized, rstd.view(*x.shape[:-1], 1)
    x = x.to(torch.float32)
    rstd = torch.rsqrt(torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_() / x.shape[-1] + eps)
    return x * rstd, rstd


def norm_fwd(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    bits: int,
    tokens: int,
    subtract_mean: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """y = x̂ * weight + bias, x̂'s payload and rstd. x: [..., C] of which `tokens` rows are one sample.

    Returns y in x's dtype, the payload of x̂ as [samples, tokens, C], rstd fp32 [..., 1].
    """
    channels = x.shape[-1]
    shape = grouped(x, tokens)
    rows = x.reshape(shape)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)  # no view: callers may write over it
    rstd = torch.empty((*shape[:2], 1), dtype=torch.float32, device=x.device)
    payload = torch.zeros(payload_bytes(shape, bits), dtype=torch.uint8, device=x.device)
    if x.numel():
        codes = torch.empty(shape, dtype=torch.uint8, device=x.device)
        scales, zeros = statistics_of(payload, shape, bits)
        scale = torch.ones(channels, device=x.device) if weight is None else weight.to(torch.float32)
        step, rule = chunk_rows(shape), range_rule(bits)
        for first in range(0, shape[0], step):
            part = slice(first, min(first + step, shape[0]))
            normalized, rstd[part] = normalize(rows[part], eps, subtract_mean)
            measure(normalized, bits, rule, scales[part], zeros[part])
            write_codes(normalized, bits, scales[part], zeros[part], codes[part])
            normalized *= scale
            if bias is not None:
                normalized += bias.to(torch.float32)
            y.view(shape)[part] = normalized
        payload[: packed_bytes(x.numel(), bits)] = pack(codes, bits)
    return y, payload, rstd.view(*x.shape[:-1], 1)


def norm_bwd(
    dy: Tensor,
    payload: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    shape: tuple[int, int, int],
    bits: int,
    subtract_mean: bool = True,
    needs_weight_grad: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Gradients of `norm_fwd`. dy: [..., C]; shape: [samples, tokens, C]. Returns dx in dy's dtype, dw, db in fp32."""
    channels = shape[-1]
    grads, rstds = dy.reshape(shape), rstd.reshape(*shape[:2], 1)
    dx = torch.empty(tuple(shape), dtype=dy.dtype, device=dy.device)
    dw = torch.zeros(channels, device=dy.device) if needs_weight_grad else None
    db = torch.zeros(channels, device=dy.device)
    if dy.numel():
        scales, zeros = statistics_of(payload, shape, bits)
        step = chunk_rows(shape)
        for first in range(0, shape[0], step):
            part = slice(first, min(first + step, shape[0]))
            g = grads[part].to(torch.float32)
            normalized = read_codes(payload, shape, bits, part, scales, zeros)
            db += g.sum((0, 1))
            if dw is not None:
                dw += (g * normalized).sum((0, 1))
            dx[part] = input_gradient(
                g if weight is None else g * weight.to(torch.float32), normalized, rstds[part], subtract_mean
            )
    return dx.view(dy.shape), dw, db


def input_gradient(g: Tensor, normalized: Tensor, rstd: Tensor, subtract_mean: bool) -> Tensor:
    """rstd * (g - mean(g) - x̂ * mean(g * x̂)) over the last dimension, fp32 [..., C]."""
    out = torch.addcmul(g, normalized, (g * normalized).mean(-1, keepdim=True), value=-1)
    if subtract_mean:
        out -= g.mean(-1, keepdim=True)
    return out.mul_(rstd)


def grouped(x: Tensor, tokens: int) -> tuple[int, int, int]:
    """[samples, tokens, channels] of a tensor whose samples have `tokens` rows."""
    channels = x.shape[-1]
    num_rows = x.numel() // max(channels, 1)
    if tokens < 1 or num_rows % tokens:
        raise ValueError(f"{num_rows} rows are not a whole number of samples of {tokens} tokens")
    return num_rows // tokens, tokens, channels
