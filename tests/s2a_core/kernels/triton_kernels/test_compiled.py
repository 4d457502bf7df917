"""Every kernel compiles ahead of time for the GPUs s2a names, on a machine without one."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

CAPABILITIES = (80, 86, 89, 90, 100)
FLAGS = {
    "NORMALIZED": True,
    "CENTRED": True,
    "HAS_WEIGHT": True,
    "HAS_BIAS": True,
    "NEEDS_DW": True,
}
SIZES = {"GROUPS": 64, "BLOCK": 512, "BLOCK_C": 256, "BLOCK_N": 16, "ROWS": 8, "KH": 3, "KW": 3, "WIDE": False}
BYTES = {"payload", "out", "packed", "codes"}
KERNELS = [
    ("packing", "_pack_kernel", {"BITS": 5}, {}),
    ("packing", "_unpack_kernel", {"BITS": 3}, {}),
    ("channels", "_measure_kernel", {"RULE": 2}, {"x": "*bf16"}),
    ("channels", "_measure_kernel", {"RULE": 1, "NORMALIZED": False}, {"x": "*fp32"}),
    ("channels", "_encode_kernel", {"BITS": 4}, {"x": "*bf16"}),
    ("channels", "_encode_kernel", {"BITS": 6, "WIDE": True}, {"x": "*fp32"}),
    ("channels", "_decode_kernel", {"BITS": 4}, {"out": "*bf16"}),
    ("nf4", "_nf4_decode_kernel", {}, {"out": "*bf16"}),
    ("nf4", "_nf4_decode_kernel", {"WIDE": True}, {"out": "*fp32"}),
    ("norm", "_norm_fwd_kernel", {}, {"x": "*bf16", "y": "*bf16"}),
    ("norm", "_norm_bwd_kernel", {"BITS": 4}, {"dy": "*bf16", "dx": "*bf16"}),
    ("activation", "_act_fwd_kernel", {"BITS": 2, "NAME": "gelu", "MASKED": False}, {"x": "*bf16", "y": "*bf16"}),
    ("activation", "_act_fwd_kernel", {"BITS": 4, "NAME": "mish", "MASKED": False}, {"x": "*fp16", "y": "*fp16"}),
    ("activation", "_act_fwd_kernel", {"BITS": 1, "NAME": "relu", "MASKED": True}, {"x": "*fp32", "y": "*fp32"}),
    ("activation", "_act_bwd_kernel", {"BITS": 2}, {"dy": "*bf16", "dx": "*bf16"}),
    ("pooling", "_maxpool2d_fwd_kernel", {"BITS": 4}, {"x": "*fp32", "y": "*fp32"}),
    ("pooling", "_maxpool2d_bwd_kernel", {"BITS": 4}, {"dy": "*fp32", "dx": "*fp32"}),
]
POINTERS = {"x", "y", "dy", "dx", "mean", "rstd", "weight", "bias", "borders", "levels", "db", "dw"}
MOST_REGISTERS = 128  # of a thread: so many leave room for 4 programs of 128 threads on each multiprocessor
REALS = {"factor", "num", "top", "smallest", "eps", "low", "high", "slope"}


def type_of(argument: str, given: dict[str, str]) -> str:
    if argument in given:
        return given[argument]
    if argument in BYTES:
        return "*u8"
    if argument in ("scales", "zeros"):
        return "*u16"
    if argument in POINTERS:
        return "*fp32"
    return "fp32" if argument in REALS else "i32"


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_compiles_without_spills_for(capability: int, tmp_path: Path) -> None:
    for module, name, constants, types in KERNELS:
        kernel = getattr(importlib.import_module(f"s2a_core.kernels.triton_kernels.{module}"), name)
        constants = {k: v for k, v in {**FLAGS, **SIZES, **constants}.items() if k in kernel.arg_names}
        signature = {a: "constexpr" if a in constants else type_of(a, types) for a in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False})
        usage = resources(compiled.asm["cubin"], tmp_path)
        assert usage["STACK"] == usage["LOCAL"] == 0, f"{name} for sm_{capability} spills: {usage}"
        assert 0 < usage["REG"] <= MOST_REGISTERS, f"{name} for sm_{capability}: {usage}"


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """Registers, stack and local memory of a compiled kernel, by NVIDIA's tool that comes with Triton."""
    (folder / "kernel.cubin").write_bytes(cubin)
    tool = Path(triton.__path__[0]) / "backends/nvidia/bin/cuobjdump"
    done = subprocess.run([tool, "-res-usage", folder / "kernel.cubin"], capture_output=True, text=True, check=True)
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", done.stdout)}
