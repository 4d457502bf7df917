"""`WeightCodes`: how the bytes of a frozen weight are read.

int8   one group per output channel: zero + scale * code, scale and zero in bf16 (s2a_core.kernels channels)
nf4    groups of at most 64 along a row of the weight: scale * level[code] (s2a_core.kernels nf4)
float  the numbers themselves: a layer that a plan leaves uncoded among coded ones runs and saves as these do
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2a_core import kernels
from s2a_core.kernels.layout import nf4_bytes, payload_bytes
from s2a_core.kernels.reference.nf4 import quantize_nf4
from s2a_core.storage import WeightFormat

NF4_GROUP = 64  # QLoRA's; 4.25 bits a weight
NF4_SMALLEST_GROUP = 16  # shorter rows, such as those of depthwise convolutions, have codes of 8 bits
MOVES = 24  # a shaken code moves up in one of so many draws, down in another
SHAKEN_AT_ONCE = 1 << 20  # codes: the temporaries of so many are all there is


@dataclass(frozen=True)
class WeightCodes:
    """How a weight is coded. shape, dtype: of the weight; group: neighbours that share a scale."""

    format: WeightFormat
    shape: torch.Size
    dtype: torch.dtype
    group: int

    @classmethod
    def of(cls, weight: Tensor, wanted: WeightFormat) -> WeightCodes:
        """The code of a weight [outputs, ...]: nf4 where its rows divide into groups that are long enough."""
        row = weight.numel() // max(weight.shape[0], 1)
        if wanted == "float":
            return cls("float", weight.shape, weight.dtype, row)
        group = next((g for g in range(min(NF4_GROUP, row), 0, -1) if row % g == 0), 1)
        if wanted == "nf4" and group >= NF4_SMALLEST_GROUP:
            return cls("nf4", weight.shape, weight.dtype, group)
        return cls("int8", weight.shape, weight.dtype, row)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.shape.numel() // max(self.group, 1)

    @property
    def num_bytes(self) -> int:
        """Bytes of codes and scales."""
        if self.format == "float":
            return self.shape.numel() * self.dtype.itemsize
        return nf4_bytes(self.groups, self.group) if self.format == "nf4" else payload_bytes(self._grouped, 8)

    def encode(self, weight: Tensor) -> Tensor:
        """uint8 [num_bytes]; of numbers their own memory."""
        if self.format == "float":
            return weight.detach().to(self.dtype).flatten().view(torch.uint8)
        rows = weight.detach().reshape(self.groups, self.group)
        if self.format == "nf4":
            return quantize_nf4(rows)
        return kernels.quantize_channels(rows.unsqueeze(-1), 8)

    def decode(self, payload: Tensor, dtype: torch.dtype) -> Tensor:
        """The weight, in `dtype` after rounding to the dtype that it stands in; numbers in the payload's memory."""
        if self.format == "float":
            weight = payload.view(self.dtype)
        elif self.format == "nf4":
            weight = kernels.dequantize_nf4(payload, self.groups, self.group, self.dtype)
        else:
            weight = kernels.dequantize_channels(payload, self._grouped, 8, self.dtype)
        return weight.view(self.shape).to(dtype)

    def shake(self, payload: Tensor, generator: torch.Generator) -> None:
        """Moves one code in twelve to its neighbour, in place: as far from the codes as these are from the weight.

        A rounding error spreads evenly over a step between codes; its variance is a twelfth of the step's square, and
        so is that of a whole step in one of twelve codes. Numbers cannot be shaken.
        """
        bits = {"int8": 8, "nf4": 4}[self.format]
        for part in payload[: self.shape.numel() * bits // 8].split(SHAKEN_AT_ONCE):
            shaken = torch.zeros_like(part)
            for shift in range(0, 8, bits):
                draw = torch.randint(MOVES, part.shape, generator=generator, dtype=torch.uint8, device=part.device)
                code = (part >> shift & (1 << bits) - 1).short() + (draw == 0).short() - (draw == 1).short()
                shaken |= code.clamp_(0, (1 << bits) - 1).to(torch.uint8) << shift
            part.copy_(shaken)

    @property
    def _grouped(self) -> tuple[int, int, int]:
        return self.groups, self.group, 1
