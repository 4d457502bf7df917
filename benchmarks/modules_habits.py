"""Small networks of kinds that users bring: recurrent, over graphs, tied, in place, with state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.modules_torch import CLASSES, SAMPLES, Made, labels, logits_loss, photos

WIDTH, STEPS = 48, 32


class Recurrent(nn.Module):
    """A classifier of sequences; `kind` is nn.LSTM or nn.GRU, whose own kernels keep what no operator of ours sees."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(16, WIDTH), nn.LayerNorm(WIDTH), nn.GELU())
        self.body, self.head = kind(WIDTH, WIDTH, num_layers=2, batch_first=True), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of sequences [B, steps, 16]."""
        sequence, _ = self.body(self.stem(x))
        return self.head(sequence[:, -1])


def recurrent(kind: type[nn.LSTM | nn.GRU]) -> Made:
    return Made(Recurrent(kind), torch.randn(SAMPLES, STEPS, 16), labels(), logits_loss)


class Encoder(nn.Module):
    """torch's own Transformer layers, whose attention is nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True, dropout=0.0)
        self.body, self.head = nn.TransformerEncoder(layer, 3), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of tokens [B, steps, WIDTH]."""
        return self.head(self.body(x).mean(1))


def encoder_layers() -> Made:
    return Made(Encoder(), torch.randn(SAMPLES, STEPS, WIDTH), labels(), logits_loss)


class Graph(nn.Module):
    """Messages along edges, summed at their ends by scatter; a sample is a graph of 24 nodes and 60 edges."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 1)
        self.messages = nn.ModuleList([nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.SiLU()) for _ in range(3)])
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(3)])

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """A number [B] for nodes [B, N, 8] and edges [B, 2, E] of their indices."""
        x = self.stem(nodes)
        start, end = (edges[:, i, :, None].expand(-1, -1, WIDTH) for i in (0, 1))
        for message, norm in zip(self.messages, self.norms, strict=True):
            sent = message(torch.cat([x.gather(1, start), x.gather(1, end)], -1))
            x = norm(x + torch.zeros_like(x).scatter_add(1, end, sent))
        return self.head(x.mean(1)).squeeze(1)


def graph() -> Made:
    inputs = (torch.randn(SAMPLES, 24, 8), torch.randint(24, (SAMPLES, 2, 60)))
    return Made(Graph(), inputs, torch.randn(SAMPLES), functional.mse_loss)


class Tied(nn.Module):
    """An autoencoder whose decoder has the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.LayerNorm(4 * WIDTH))
        self.offset = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """The input [B, steps, WIDTH] again."""
        weight: Any = self.encoder[0].weight
        return functional.linear(self.encoder(x), weight.t(), self.offset)


def tied() -> Made:
    x = torch.randn(SAMPLES, STEPS, WIDTH)
    return Made(Tied(), x, x.clone(), functional.mse_loss)


@dataclass
class Output:
    """What `Stateful` returns."""

    logits: Tensor
    features: Tensor


class Stateful(nn.Module):
    """Changes maps in place, writes a running mean into a buffer as it runs, and returns a dataclass."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.norm, self.head = nn.GroupNorm(4, 32), nn.Linear(32, CLASSES)
        self.register_buffer("mean", torch.zeros(32))

    def forward(self, x: Tensor) -> Output:
        """Logits [B, classes] and features [B, 32] of images [B, 3, H, W]."""
        x = functional.relu_(self.norm(self.first(x)))
        y = functional.silu(self.second(x), inplace=True)
        y += x
        features = y.mul_(0.5).mean((2, 3))
        with torch.no_grad():
            self.mean.lerp_(features.mean(0), 0.1)
        return Output(self.head(features - self.mean), features)


def stateful() -> Made:
    def loss(output: Output, labels: Tensor) -> Tensor:
        return functional.cross_entropy(output.logits, labels) + 0.01 * output.features.square().mean()

    return Made(Stateful(), photos(32), labels(), loss)
