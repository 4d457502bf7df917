"""What PyTorch's allocator and cuBLAS read once, set before the first context; and the warm-up that takes workspaces.

cuBLAS keeps a workspace per thread that multiplies, the step's and autograd's: 2 x 32 MiB on Hopper, 2 x 8 MiB before,
unless CUBLAS_WORKSPACE_CONFIG says otherwise, which PyTorch reads as it makes the handle. There is no other door to it
than the environment, so this module may write there. Small workspaces leave cuBLAS fewer algorithms (no split-K); what
that costs in time was not measured on a GPU, so they are only chosen where a budget is short.
"""

from __future__ import annotations

import os
import warnings

import torch
from torch import nn

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
SMALL, MEDIUM = ":16:8", ":4096:2:16:8"  # 8 x 16 KiB; that and 2 x 4 MiB, PyTorch's default before Hopper
# Budgets from which on more is spent: there two workspaces are at most 1.6 % of the budget.
MEDIUM_FROM, DEFAULT_FROM = 2**30, 8 * 2**30
# Of a handle: 8 x 16 KiB, 2 x 4 MiB and those, and what PyTorch takes by itself from Hopper on, as its source says
# (ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize); the double counts the same where they are allocated.
WORKSPACE_KIB = {SMALL: 128, MEDIUM: 8320}
DEFAULT_KIB, DEFAULT_KIB_SINCE_HOPPER = 8320, 32768
# Growing segments in the smallest pages that PyTorch takes, not of 20 MiB: half a page is unused on average.
ALLOCATOR = "expandable_segments:True,large_segment_size_mb:12"
CUBLAS_LT_KIB = {SMALL: 128, MEDIUM: 8192}  # cuBLASLt's own, where it does not share the first


def workspace_config(budget_bytes: int) -> str | None:
    """cuBLAS workspaces for a budget; None leaves the device's default. 0 bytes stand for no budget."""
    if budget_bytes <= 0 or budget_bytes >= DEFAULT_FROM:
        return None
    return MEDIUM if budget_bytes >= MEDIUM_FROM else SMALL


def configure(budget_bytes: int) -> None:
    """Segments that grow, and workspaces for this budget, where the user has not set them and no context is there yet.

    Growing segments give back any unused page under a cap, so that fewer fragments count.
    """
    if _has_context():
        return
    if not (os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF")):
        torch._C._accelerator_setAllocatorSettings(ALLOCATOR)  # type: ignore[attr-defined]
    chosen = workspace_config(budget_bytes)
    if chosen is not None and CUBLAS not in os.environ:
        os.environ[CUBLAS] = chosen
        os.environ.setdefault("CUBLASLT_WORKSPACE_SIZE", str(CUBLAS_LT_KIB[chosen]))


def _has_context() -> bool:
    """Of this process on any device. Asking for a device's properties, as some libraries do while they are imported,
    initialises torch.cuda but makes none.
    """
    devices = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    return any(torch._C._cuda_hasPrimaryContext(device) for device in devices)  # type: ignore[attr-defined]


def workspaces_by_budget(taken_bytes: int, budget_bytes: int, compute_capability: int) -> tuple[tuple[int, int], ...]:
    """What cuBLAS takes in a process of another budget: (from so many bytes on, bytes).

    taken_bytes: of this process, which was started with budget_bytes; compute_capability: its major number. The same at
    every budget where the user has set the workspaces.
    """
    config = workspace_config(budget_bytes)
    if os.environ.get(CUBLAS) != config:
        return ((0, taken_bytes),)
    default = DEFAULT_KIB_SINCE_HOPPER if compute_capability >= 9 else DEFAULT_KIB
    share = taken_bytes / (default if config is None else WORKSPACE_KIB[config])
    rule = ((0, WORKSPACE_KIB[SMALL]), (MEDIUM_FROM, WORKSPACE_KIB[MEDIUM]), (DEFAULT_FROM, default))
    return tuple((first, round(share * kib)) for first, kib in rule)


def warm_up(device: torch.device) -> None:
    """Make the handles and workspaces of cuBLAS and cuDNN: a convolution and a product, forward and backward."""
    with torch.random.fork_rng(devices=[device]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(), nn.Linear(8 * 4, 8)).to(device)
        for is_bf16 in (False, True):
            with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
                net(torch.zeros(2, 3, 8, 8, device=device, requires_grad=True)).float().sum().backward()
        net.zero_grad(set_to_none=True)
    torch.cuda.synchronize(device)
