"""The table that maps torch functions to routes. A route runs one call, ours or stock, under the name of its site."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.compression.routes.calls import Route
from s2a_core.compression.routes.generic import hooked
from s2a_core.compression.routes.norms import batch_norm, group_norm, layer_norm, rms_norm, run_norm
from s2a_core.compression.routes.pointwise import activation, dropout, piecewise
from s2a_core.compression.routes.pooling import avg_pool2d, max_pool2d
from s2a_core.compression.routes.products import attention, conv, linear, low_rank
from s2a_core.ops import low_rank_conv, low_rank_linear

ROUTES: dict[Any, Route] = {
    F.gelu: activation("gelu"),
    F.silu: activation("silu"),
    F.mish: activation("mish"),
    F.hardswish: activation("hardswish"),
    F.elu: activation("elu"),
    F.softplus: activation("softplus"),
    torch.sigmoid: activation("sigmoid"),
    Tensor.sigmoid: activation("sigmoid"),
    F.sigmoid: activation("sigmoid"),
    Tensor.sigmoid_: activation("sigmoid"),
    torch.tanh: activation("tanh"),
    Tensor.tanh: activation("tanh"),
    F.relu: piecewise("relu"),
    torch.relu: piecewise("relu"),
    Tensor.relu: piecewise("relu"),
    torch.relu_: piecewise("relu"),
    Tensor.relu_: piecewise("relu"),
    F.relu6: piecewise("relu6"),
    F.hardtanh: piecewise("hardtanh"),
    F.leaky_relu: piecewise("leaky_relu"),
    F.hardsigmoid: piecewise("hardsigmoid"),
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.scaled_dot_product_attention: attention,
    F.linear: linear,
    low_rank_linear: low_rank,
    low_rank_conv: low_rank,
    F.conv1d: conv,
    F.conv2d: conv,
    F.conv3d: conv,
    F.batch_norm: batch_norm,
    F.max_pool2d: max_pool2d,
    F.avg_pool2d: avg_pool2d,
    F.dropout: dropout,
    F.group_norm: group_norm,
    F.normalize: hooked("normalize"),
    F.softmax: hooked("softmax"),
    torch.softmax: hooked("softmax"),
    Tensor.softmax: hooked("softmax"),
    torch.matmul: hooked("matmul"),
    Tensor.matmul: hooked("matmul"),
    Tensor.__matmul__: hooked("matmul"),
    torch.bmm: hooked("bmm"),
    Tensor.bmm: hooked("bmm"),
    torch.mul: hooked("mul"),
    Tensor.mul: hooked("mul"),
    Tensor.__mul__: hooked("mul"),
    Tensor.__rmul__: hooked("mul"),
}

__all__ = ["ROUTES", "Route", "run_norm"]
