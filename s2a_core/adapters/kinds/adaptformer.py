"""adaptformer: a bottleneck parallel to every MLP (AdaptFormer, Chen et al. 2022, arXiv 2205.13535).

    y = MLP(x) + s · up(relu(down(x))), x the MLP's input after its norm, s = 0.1; up begins at zero.

An MLP is a layer that widens and the one that narrows back to the same shape, whatever a model calls them: fc1 and fc2,
the two 1 x 1 convolutions of an inverted residual. Without one, the bottleneck is parallel to the repeated blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.errors import BadAdapter
from s2a_core.hooks import PairedHooks

if TYPE_CHECKING:
    from torch import Tensor, nn

    from s2a_core.adapters.backbone import Backbone

MODULE = "s2a_bottleneck"
SCALE = 0.1


def attach(backbone: Backbone, options: Options) -> None:
    """2 · width · C + width + C parameters an MLP of C channels; holds `width` values and bits a token, and x.

    In regions x is rebuilt from the norm's codes. width: the rank; the paper's 64 of ViT-B's 768 channels is one in 12.
    """
    from s2a_core.adapters.mlps import Span

    blocks = (place for place in backbone.places if place.in_shape == place.out_shape)
    spans = backbone.mlps() or [
        Span(p.block, p.block, p.block, p.in_shape[0 if p.channels_first else -1], p.channels_first) for p in blocks
    ]
    if not spans:
        raise BadAdapter("adaptformer needs MLPs, or blocks that keep their shape; this model has none: use bias")
    for index, span in enumerate(spans):
        name = MODULE if not hasattr(span.owner, MODULE) else f"{MODULE}_{index}"
        backbone.add(span.owner, name, _bottleneck(span.channels, options.rank, span.is_map))
        parallel = _Parallel(span.owner, name)
        span.first.register_forward_pre_hook(parallel.read)
        span.last.register_forward_hook(parallel.add)


def _bottleneck(channels: int, width: int, is_map: bool) -> nn.Module:
    """[..., C] -> [..., C], on maps [B, C, H, W] per pixel; zero at first."""
    from torch import nn

    down: nn.Module = nn.Conv2d(channels, width, 1) if is_map else nn.Linear(channels, width)
    up: nn.Module = nn.Conv2d(width, channels, 1) if is_map else nn.Linear(width, channels)
    for parameter in (down.bias, *up.parameters()):
        nn.init.zeros_(parameter)  # type: ignore[arg-type]
    return nn.Sequential(down, nn.ReLU(), up)


class _Parallel(PairedHooks):
    """The two hooks of one bottleneck: `read` before the first layer of its MLP, `add` after the last."""

    def __init__(self, owner: nn.Module, name: str) -> None:
        self.owner, self.name = owner, name
        self.x: Tensor | None = None

    def read(self, first: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.x = args[0]

    def add(self, last: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        x, self.x = self.x, None
        return y + SCALE * getattr(self.owner, self.name)(x)


KIND = Kind(
    "adaptformer", "bottlenecks parallel to the MLPs", Rates(tokens=8e-3, maps=3e-3), attach, rank=16,
    no_merge="the bottlenecks have a ReLU between their layers, so no weights of the plain model do the same",
)  # fmt: skip
