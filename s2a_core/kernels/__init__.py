"""Kernels: pack, quantise, normalise, activate and pool, each keeping few bits for backward.

The functions load with torch at first use, so that `s2a_core.kernels.layout` stays free of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from s2a_core.kernels.layout import BITS, packed_bytes, payload_bytes

if TYPE_CHECKING:
    from s2a_core.kernels.backend import (
        SUPPORTED_DTYPES,
        DerivativeTable,
        Histogram,
        act_bwd,
        act_fwd,
        backend_name,
        dequantize_channels,
        dequantize_nf4,
        disable_native,
        dropout_bwd,
        dropout_fwd,
        enable_native,
        fit_table,
        known_table,
        mask_bwd,
        mask_fwd,
        maxpool2d_bwd,
        maxpool2d_fwd,
        native_failure,
        norm_bwd,
        norm_fwd,
        normalize,
        pack,
        prefer_native,
        quantize_channels,
        quantize_nf4,
        start_native,
        unpack,
        why_reference,
    )

__all__ = [
    "BITS",
    "SUPPORTED_DTYPES",
    "DerivativeTable",
    "Histogram",
    "act_bwd",
    "act_fwd",
    "backend_name",
    "dequantize_channels",
    "dequantize_nf4",
    "disable_native",
    "dropout_bwd",
    "dropout_fwd",
    "enable_native",
    "fit_table",
    "known_table",
    "mask_bwd",
    "mask_fwd",
    "maxpool2d_bwd",
    "maxpool2d_fwd",
    "native_failure",
    "norm_bwd",
    "norm_fwd",
    "normalize",
    "pack",
    "packed_bytes",
    "payload_bytes",
    "prefer_native",
    "quantize_channels",
    "quantize_nf4",
    "start_native",
    "unpack",
    "why_reference",
]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 's2a_core.kernels' has no attribute {name!r}")
    value = getattr(importlib.import_module("s2a_core.kernels.backend"), name)
    globals()[name] = value
    return value
