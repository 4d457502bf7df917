"""The models of `benchmarks.modules` by name: none is a plain timm classifier, each has its own inputs and loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torchvision
from torch import nn

from benchmarks.modules_habits import encoder_layers, graph, recurrent, stateful, tied
from benchmarks.modules_torch import (
    CLASSES,
    Made,
    classifier,
    dense,
    faster_rcnn,
    labels,
    logits_loss,
    mlp,
    photos,
    retina_net,
    ssd_lite,
    two_inputs,
    unet,
    video,
)
from benchmarks.modules_transformers import (
    TOKENS,
    bert,
    clip,
    detr,
    dpt,
    encoder,
    gpt2,
    hugging_face,
    segformer,
    upernet,
    videomae,
    with_lora,
    yolos,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row of the table. adapter: of s2a, or "as it is" for a model that comes with its own."""

    library: str
    task: str
    adapter: str
    make: Callable[[], Made]


_VIT = dict(TOKENS, image_size=64, patch_size=8)
_SWIN = {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
_CONVNEXT = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}

CASES: dict[str, Case] = {
    "MLP over tokens": Case("torch", "regression", "bias", mlp),
    "U-Net": Case("torch", "segmentation", "bias", unet),
    "image and numbers": Case("torch", "two targets", "bias", two_inputs),
    "LSTM": Case("torch", "sequences", "bias", lambda: recurrent(nn.LSTM)),
    "GRU": Case("torch", "sequences", "bias", lambda: recurrent(nn.GRU)),
    "nn.TransformerEncoder": Case("torch", "tokens", "bias", encoder_layers),
    "graph network": Case("torch", "regression", "bias", graph),
    "tied autoencoder": Case("torch", "reconstruction", "bias", tied),
    "in place, with state": Case("torch", "classes", "bias", stateful),
    "ResNet-18": Case("torchvision", "classes", "bias", classifier("resnet18", 64)),
    "MobileNetV3-small": Case("torchvision", "classes", "bias", classifier("mobilenet_v3_small", 64)),
    "EfficientNet-B0": Case("torchvision", "classes", "bias", classifier("efficientnet_b0", 64)),
    "ViT (torchvision)": Case(
        "torchvision", "classes", "bias",
        lambda: Made(
            torchvision.models.VisionTransformer(64, 8, 3, 4, 64, 128, num_classes=CLASSES), photos(64), labels(),
            logits_loss,
        ),
    ),
    "Swin-T": Case("torchvision", "classes", "bias", classifier("swin_t", 64)),
    "FCN ResNet-50": Case("torchvision", "segmentation", "bias", dense("fcn_resnet50")),
    "DeepLabV3 MobileNetV3": Case("torchvision", "segmentation", "bias", dense("deeplabv3_mobilenet_v3_large")),
    "Faster R-CNN MobileNetV3": Case("torchvision", "detection", "bias", faster_rcnn),
    "RetinaNet": Case("torchvision", "detection", "bias", retina_net),
    "SSDLite MobileNetV3": Case("torchvision", "detection", "bias", ssd_lite),
    "R3D-18": Case("torchvision", "video", "bias", video),
    "ViT": Case("transformers", "classes", "lora", hugging_face("ViT", 64, **_VIT)),
    "DINOv2": Case("transformers", "classes", "bias", hugging_face("Dinov2", 64, **_VIT, mlp_ratio=2)),
    "DINOv2 with registers": Case(
        "transformers", "classes", "bias", hugging_face("Dinov2WithRegisters", 64, **_VIT, mlp_ratio=2)
    ),
    "Swin": Case("transformers", "classes", "bias", hugging_face("Swin", 64, **_SWIN)),
    "Swin V2": Case("transformers", "classes", "bias", hugging_face("Swinv2", 64, **_SWIN)),
    "BEiT": Case("transformers", "classes", "bias", hugging_face("Beit", 64, **_VIT)),
    "ConvNeXt": Case("transformers", "classes", "bias", hugging_face("ConvNext", 64, **_CONVNEXT)),
    "ConvNeXt V2": Case("transformers", "classes", "bias", hugging_face("ConvNextV2", 64, **_CONVNEXT)),
    "MobileViT": Case(
        "transformers", "classes", "bias",
        hugging_face(
            "MobileViT", 64, image_size=64, hidden_sizes=[32, 48, 64], neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 96],
            num_attention_heads=4,
        ),
    ),
    "CLIP, both towers": Case("transformers", "contrast", "lora", clip),
    "CLIP vision": Case("transformers", "features", "bias", encoder("CLIPVisionModel", "CLIPVisionConfig", 64, **_VIT)),
    "SigLIP vision": Case("transformers", "classes", "bias", hugging_face("Siglip", 64, vision_config=_VIT)),
    "SAM vision encoder": Case(
        "transformers", "features", "lora",
        encoder(
            "SamVisionModel", "SamVisionConfig", 128, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
            image_size=128, patch_size=8, output_channels=32, window_size=7, global_attn_indexes=[2], mlp_dim=128,
            initializer_range=0.02,
        ),
    ),
    "Segformer": Case("transformers", "segmentation", "bias", segformer),
    "DPT": Case("transformers", "depth", "bias", dpt),
    "UperNet Swin": Case("transformers", "segmentation", "bias", upernet),
    "DETR": Case("transformers", "detection", "bias", detr),
    "YOLOS": Case("transformers", "detection", "bias", yolos),
    "VideoMAE": Case("transformers", "video", "bias", videomae),
    "BERT": Case("transformers", "text", "bias", bert),
    "GPT-2": Case("transformers", "text", "bias", gpt2),
    "ViT + LoRA": Case("peft", "classes", "as it is", with_lora(["q_proj", "v_proj"], r=4)),
    "ViT + DoRA": Case("peft", "classes", "as it is", with_lora(["q_proj", "v_proj"], r=4, use_dora=True)),
}  # fmt: skip
