"""Operators whose backward reads packed bits, one autograd Function per family. Their arithmetic is in `kernels`."""

from s2a_core.ops.activation import ActivationFunction, MaskedFunction
from s2a_core.ops.attention import AttentionFunction
from s2a_core.ops.batch_norm import FrozenBatchNormFunction, uses_batch_statistics
from s2a_core.ops.convolution import FrozenConvFunction
from s2a_core.ops.dropout import DropoutFunction
from s2a_core.ops.low_rank import low_rank_conv, low_rank_linear
from s2a_core.ops.norm import NormFunction
from s2a_core.ops.packed import PackedShape, decode, encode
from s2a_core.ops.pooling import AvgPoolFunction, MaxPoolFunction

__all__ = [
    "ActivationFunction",
    "AttentionFunction",
    "AvgPoolFunction",
    "DropoutFunction",
    "FrozenBatchNormFunction",
    "FrozenConvFunction",
    "MaskedFunction",
    "MaxPoolFunction",
    "NormFunction",
    "PackedShape",
    "decode",
    "encode",
    "low_rank_conv",
    "low_rank_linear",
    "uses_batch_statistics",
]
