"""Models of transformers with what they take, small and with random weights; one wrapped by peft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from benchmarks.modules_torch import CLASSES, SAMPLES, Made, energy, labels, logits_loss, own_loss, photos

TOKENS = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
LABELS = {"num_labels": CLASSES}


def hugging_face(name: str, size: int, **options: Any) -> Callable[[], Made]:
    """A classifier of images by the name of its family."""

    def make() -> Made:
        config = getattr(transformers, f"{name}Config")(**options, **LABELS)
        model = getattr(transformers, f"{name}ForImageClassification")(config)
        return Made(model, {"pixel_values": photos(size)}, labels(), logits_loss)

    return make


def segformer() -> Made:
    config = transformers.SegformerConfig(
        hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=64, **LABELS,
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config)
    return Made(model, {"pixel_values": photos(64)}, torch.randint(CLASSES, (SAMPLES, 64, 64)), logits_loss)


def dpt() -> Made:
    config = transformers.DPTConfig(
        **TOKENS | {"num_hidden_layers": 4}, image_size=64, patch_size=8, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 24, 32, 48], fusion_hidden_size=32, is_hybrid=False,
    )  # fmt: skip
    model = transformers.DPTForDepthEstimation(config)

    def depth(output: Any, targets: Tensor) -> Tensor:
        return functional.l1_loss(output.predicted_depth, targets)

    return Made(model, {"pixel_values": photos(64)}, torch.rand(SAMPLES, 128, 128), depth)


def upernet() -> Made:
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=32, auxiliary_channels=16, auxiliary_in_channels=96, **LABELS
    )
    model = transformers.UperNetForSemanticSegmentation(config)
    inputs = {"pixel_values": photos(64), "labels": torch.randint(CLASSES, (SAMPLES, 64, 64))}
    return Made(model, inputs, None, own_loss)


def _objects(size: int) -> list[dict[str, Tensor]]:
    """Per image two boxes as centres and sizes, in shares of the image, with their classes."""
    return [
        {"class_labels": torch.randint(CLASSES, (2,)), "boxes": torch.rand(2, 4) * 0.4 + 0.2} for _ in range(SAMPLES)
    ]


def detr() -> Made:
    backbone = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage4"],
    )  # fmt: skip
    config = transformers.DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, use_pretrained_backbone=False, d_model=64, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=128, decoder_ffn_dim=128, encoder_attention_heads=4,
        decoder_attention_heads=4, num_queries=10, **LABELS,
    )  # fmt: skip
    inputs = {"pixel_values": photos(128), "labels": _objects(128)}
    return Made(transformers.DetrForObjectDetection(config), inputs, None, own_loss)


def yolos() -> Made:
    config = transformers.YolosConfig(**TOKENS, image_size=[64, 96], patch_size=8, num_detection_tokens=10, **LABELS)
    model = transformers.YolosForObjectDetection(config)
    return Made(model, {"pixel_values": photos(64, 96), "labels": _objects(64)}, None, own_loss)


def encoder(name: str, config: str, size: int, **options: Any) -> Callable[[], Made]:
    """An encoder of images whose tokens are to be like given ones."""

    def make() -> Made:
        model = getattr(transformers, name)(getattr(transformers, config)(**options))
        inputs = {"pixel_values": photos(size)}
        with torch.no_grad():
            shape = model(**inputs).last_hidden_state.shape
        return Made(model, inputs, torch.randn(shape), energy)

    return make


def clip() -> Made:
    config = transformers.CLIPConfig(
        vision_config=dict(TOKENS, image_size=64, patch_size=8), text_config=dict(TOKENS, vocab_size=99),
        projection_dim=32,
    )  # fmt: skip
    tokens = torch.randint(1, 98, (SAMPLES, 8))
    inputs = {"pixel_values": photos(64), "input_ids": tokens, "return_loss": True}
    return Made(transformers.CLIPModel(config), inputs, None, own_loss)


def videomae() -> Made:
    config = transformers.VideoMAEConfig(**TOKENS, image_size=32, patch_size=8, num_frames=4, tubelet_size=2, **LABELS)
    model = transformers.VideoMAEForVideoClassification(config)
    return Made(model, {"pixel_values": torch.randn(SAMPLES, 4, 3, 32, 32)}, labels(), logits_loss)


def bert() -> Made:
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**TOKENS, vocab_size=99, **LABELS))
    tokens, mask = torch.randint(99, (SAMPLES, 48)), torch.ones(SAMPLES, 48, dtype=torch.long)
    mask[:, 40:] = 0
    return Made(model, {"input_ids": tokens, "attention_mask": mask}, labels(), logits_loss)


def gpt2() -> Made:
    config = transformers.GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=99, n_positions=64, use_cache=False)
    tokens = torch.randint(99, (SAMPLES, 48))
    return Made(transformers.GPT2LMHeadModel(config), {"input_ids": tokens, "labels": tokens}, None, own_loss)


def with_lora(names: list[str], **options: Any) -> Callable[[], Made]:
    """A ViT of transformers that comes wrapped by peft, as people have it."""

    def make() -> Made:
        made = hugging_face("ViT", 64, **TOKENS, image_size=64, patch_size=8)()
        # B of LoRA is random, not zero, so that the gradient of A is not zero either
        fixed: dict[str, Any] = {"target_modules": names, "modules_to_save": ["classifier"], "init_lora_weights": False}
        config = peft.LoraConfig(**fixed, **options)
        return Made(peft.get_peft_model(made.model, config), made.inputs, made.targets, made.loss)

    return make
