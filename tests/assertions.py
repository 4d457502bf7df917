"""The one way tests compare tensors: relative root-mean-square difference."""

from __future__ import annotations

import torch


def relative_rms(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """||actual - expected|| / ||expected|| in float64; 0 for two empty or two all-zero tensors."""
    difference = (actual.detach().double() - expected.detach().double()).norm()
    scale = expected.detach().double().norm()
    if scale == 0:
        return float(difference)
    return float(difference / scale)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, rel: float = 1e-6, what: str = "") -> None:
    """Fail unless shapes and dtypes agree, every value is finite, and the relative RMS difference is at most `rel`."""
    name = what or "tensor"
    assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    assert actual.dtype == expected.dtype, f"{name}: dtype {actual.dtype}, expected {expected.dtype}"
    assert bool(torch.isfinite(actual).all()), f"{name}: {int((~torch.isfinite(actual)).sum())} values are not finite"
    error = relative_rms(actual, expected)
    assert error <= rel, f"{name}: relative RMS difference {error:.3e} is above {rel:.3e}"


def cosine(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Cosine between two tensors of one shape, flattened, in float64."""
    a, b = actual.detach().double().flatten(), expected.detach().double().flatten()
    return float(torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-300))
