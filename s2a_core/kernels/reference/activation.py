"""Activations whose backward reads a table index: code = number of borders at or below x, dx ~ dy * levels[code]."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from s2a_core.kernels.curves import Curve
from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.channels import CHUNK_ELEMENTS
from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, is_channels_last, mark
from s2a_core.kernels.reference.packing import pack, unpack
from s2a_core.kernels.tables import DerivativeTable

MAX_COMPARED_BORDERS = 15  # above it a binary search is faster than one pass per border


def act_fwd(x: Tensor, curve: Curve, table: DerivativeTable) -> tuple[Tensor, Tensor]:
    """f(x) and the packed codes. x: any shape; returns y like x and uint8 of ceil(numel * bits / 8) bytes."""
    source = in_memory_order(x)
    y = torch.empty_like(source)
    flat, result = source.view(-1), y.view(-1)
    payload = torch.empty(packed_bytes(x.numel(), table.bits), dtype=torch.uint8, device=x.device)
    for start in range(0, x.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        evaluate(part, curve, result[start : start + CHUNK_ELEMENTS])
        first = start * table.bits // 8
        packed = pack(index(part, table), table.bits)
        payload[first : first + packed.numel()] = packed
    return (y.permute(0, 3, 1, 2) if is_channels_last(x) else y), mark(payload, x)


def act_bwd(dy: Tensor, payload: Tensor, table: DerivativeTable) -> Tensor:
    """dy * levels[code]. dy: any shape, floating; returns dx in dy's dtype."""
    source = in_payload_order(dy, payload)
    dx = torch.empty_like(source)
    flat, result, packed = source.view(-1), dx.view(-1), payload.view(-1)
    for start in range(0, dy.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        first = start * table.bits // 8
        codes = packed[first : first + packed_bytes(part.numel(), table.bits)]
        factors = _factors(codes, table, part.numel())
        # a slope of 0 gives 0 even where dy is infinite, as at sqrt(relu(x))
        result[start : start + CHUNK_ELEMENTS] = part.to(torch.float32).mul(factors).masked_fill_(factors == 0.0, 0.0)
    return back_in_place(dx, payload)


def evaluate(x: Tensor, curve: Curve, out: Tensor) -> None:
    """f(x) written to `out`, without a temporary where PyTorch can do that."""
    if curve.name in ("gelu", "gelu_tanh"):
        torch.ops.aten.gelu.out(x, approximate="tanh" if curve.name == "gelu_tanh" else "none", out=out)
    elif curve.name == "silu":
        torch.ops.aten.silu.out(x, out=out)
    else:
        out.copy_(curve.function(x))


def index(x: Tensor, table: DerivativeTable) -> Tensor:
    """Number of borders at or below each x, uint8; 0 where x is NaN."""
    x = x.to(torch.float32)
    borders, _ = table.on(x.device)
    if len(table.border_values) > MAX_COMPARED_BORDERS:
        indices = torch.bucketize(x, borders, out_int32=True, right=True).to(torch.uint8)
        return indices.masked_fill_(x.isnan(), 0)
    # comparisons that write floats are vectorised, those that write booleans are four times slower
    count = torch.empty_like(x)
    torch.ge(x, table.border_values[0], out=count)
    above = torch.empty_like(x)
    for border in table.border_values[1:]:
        count += torch.ge(x, border, out=above)
    return count.to(torch.int32).to(torch.uint8)


def _factors(packed: Tensor, table: DerivativeTable, count: int) -> Tensor:
    """levels[code] of `count` codes, fp32."""
    if table.bits in (2, 4):
        words = _levels_of_bytes(table, packed.device).index_select(0, packed.to(torch.int32))
        return words.view(torch.float32).view(-1)[:count]
    return table.on(packed.device)[1].index_select(0, unpack(packed, table.bits, count).to(torch.int32))


@functools.lru_cache(maxsize=256)
def _levels_of_bytes(table: DerivativeTable, device: torch.device) -> Tensor:
    """For every byte, the levels of its 4 or 2 codes as one 128- or 64-bit number: one look-up finds them all."""
    codes = unpack(torch.arange(256, dtype=torch.uint8), table.bits, 256 * 8 // table.bits)
    levels = table.levels[codes.to(torch.int32)]
    return levels.view(torch.complex128 if table.bits == 2 else torch.float64).view(-1).to(device)
