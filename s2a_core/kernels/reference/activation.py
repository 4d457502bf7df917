"""Activations whose backward reads a table index: y = f(x), code = number of borders at or below x, dx ~ dy * levels[code]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.channels import CHUNK_ELEMENTS
from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, is_channels_last, mark
from s2a_core.kernels.reference.packing import pack, unpack
from s2a_core.kernels.tables import DerivativeTable

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "softplus": F.softplus,
}
MAX_COMPARED_BORDERS = 15  # above it a binary search is faster than one pass per border


def act_fwd(x: Tensor, name: str, table: DerivativeTable) -> tuple[Tensor, Tensor]:
    """f(x) and the packed codes. x: any shape; returns y like x and uint8 of ceil(numel * bits / 8) bytes."""
    source = in_memory_order(x)
    y = torch.empty_like(source)
    flat, result = source.view(-1), y.view(-1)
    payload = torch.empty(packed_bytes(x.numel(), table.bits), dtype=torch.uint8, device=x.device)
    for start in range(0, x.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        result[start : start + CHUNK_ELEMENTS] = FUNCTIONS[name](part)
        first = start * table.bits // 8
        packed = pack(index(part, table), table.bits)
        payload[first : first + packed.numel()] = packed
    return (y.permute(0, 3, 1, 2) if is_channels_last(x) else y), mark(payload, x)


def act_bwd(dy: Tensor, payload: Tensor, table: DerivativeTable) -> Tensor:
    """dy * levels[code]. dy: any shape, floating; returns dx in dy's dtype."""
    source = in_payload_order(dy, payload)
    dx = torch.empty_like(source)
    flat, result, packed = source.view(-1), dx.view(-1), payload.view(-1)
    levels = table.levels.to(dy.device)
    for start in range(0, dy.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        first = start * table.bits // 8
        codes = unpack(packed[first : first + packed_bytes(part.numel(), table.bits)], table.bits, part.numel())
        factors = levels.index_select(0, codes.to(torch.int32))
        result[start : start + CHUNK_ELEMENTS] = part.to(torch.float32) * factors
    return back_in_place(dx, payload)


def index(x: Tensor, table: DerivativeTable) -> Tensor:
    """Number of borders at or below each x, uint8; 0 where x is NaN."""
    borders = table.borders.to(x.device)
    if len(table.border_values) > MAX_COMPARED_BORDERS:
        found = torch.bucketize(x.to(torch.float32), borders, out_int32=True, right=True).to(torch.uint8)
        return found.masked_fill_(x.isnan(), 0)
    codes = torch.ge(x, table.border_values[0]).view(torch.uint8)
    for border in table.border_values[1:]:
        codes += torch.ge(x, border).view(torch.uint8)
    return codes
