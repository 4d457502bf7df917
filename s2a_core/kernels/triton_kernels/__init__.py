"""The kernels in Triton, for CUDA tensors: the same names, signatures and codes as the reference.

Where codes are made it is compiled without fused multiply-add (`enable_fp_fusion=False`), to round like the reference.
"""

from s2a_core.kernels.triton_kernels.activation import act_bwd, act_fwd, mask_bwd, mask_fwd
from s2a_core.kernels.triton_kernels.channels import dequantize_channels, quantize_channels
from s2a_core.kernels.triton_kernels.dropout import dropout_bwd, dropout_fwd
from s2a_core.kernels.triton_kernels.nf4 import dequantize_nf4
from s2a_core.kernels.triton_kernels.norm import norm_bwd, norm_fwd, normalize
from s2a_core.kernels.triton_kernels.packing import pack, unpack
from s2a_core.kernels.triton_kernels.pooling import maxpool2d_bwd, maxpool2d_fwd

__all__ = [
    "act_bwd",
    "act_fwd",
    "dequantize_channels",
    "dequantize_nf4",
    "dropout_bwd",
    "dropout_fwd",
    "mask_bwd",
    "mask_fwd",
    "maxpool2d_bwd",
    "maxpool2d_fwd",
    "norm_bwd",
    "norm_fwd",
    "normalize",
    "pack",
    "quantize_channels",
    "unpack",
]
