"""Adapters of other papers that change the forward pass: VPT-deep and a ladder side network, for timm ViTs.

Written by us from the papers, so tables mark them: VPT (Jia et al., ECCV 2022), LST (Sung et al., NeurIPS 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

PROMPTS = 10  # tokens per block, the smallest of VPT's usual settings
SIDE_REDUCTION = 8  # LST's k


class VPTDeep(nn.Module):
    """A frozen ViT with `PROMPTS` trainable tokens inserted before every block and removed after it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        blocks: Any = model.blocks
        width, self.prefix = int(model.embed_dim), int(model.num_prefix_tokens)  # type: ignore[arg-type]
        self.prompts = nn.ParameterList([nn.Parameter(torch.randn(PROMPTS, width) * 0.02) for _ in blocks])
        for block, prompt in zip(blocks, self.prompts, strict=True):
            block.register_forward_pre_hook(self._insert(prompt))
            block.register_forward_hook(self._remove)

    def _insert(self, prompt: Tensor) -> Any:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = args[0]  # [B, N, C]
            tokens = prompt.to(x.dtype).expand(x.shape[0], -1, -1)
            return (torch.cat((x[:, : self.prefix], tokens, x[:, self.prefix :]), dim=1), *args[1:])

        return hook

    def _remove(self, _: nn.Module, __: Any, out: Tensor) -> Tensor:
        return torch.cat((out[:, : self.prefix], out[:, self.prefix + PROMPTS :]), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, 3, H, W]."""
        return self.model(x)  # type: ignore[no-any-return]


class LadderSide(nn.Module):
    """A frozen ViT, and beside it transformer blocks of an eighth of its width fed by its block outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        blocks: Any = model.blocks
        width = int(model.embed_dim)  # type: ignore[arg-type]
        side = max(8, width // SIDE_REDUCTION)
        self.down = nn.ModuleList([nn.Linear(width, side) for _ in blocks])
        self.side = nn.ModuleList([Block(side, num_heads=max(1, side // 32)) for _ in blocks])
        self.gate = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in blocks])
        self.up = nn.Linear(side, width)
        self._outputs: list[Tensor] = []
        for block in blocks:
            block.register_forward_hook(lambda _, __, out: self._outputs.append(out))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, 3, H, W]; no gradient enters the backbone."""
        self._outputs.clear()
        with torch.no_grad():
            features = self.model.forward_features(x)  # type: ignore[operator]
        state: Tensor | None = None
        for out, down, block, gate in zip(self._outputs, self.down, self.side, self.gate, strict=True):
            step = down(out)
            mix = torch.sigmoid(gate)
            state = block(step if state is None else mix * state + (1 - mix) * step)
        self._outputs.clear()
        return self.model.forward_head(features + self.up(state))  # type: ignore[operator,no-any-return]
