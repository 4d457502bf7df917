"""Models by timm's names, with weights from safetensors, from timm's hub, or ours."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.config import resolve_data_config
from torch import nn

from s2a_core import network
from s2a_core.errors import InvalidInput, UnknownModel, WeightsMismatch
from s2a_core.fields import nearest
from s2a_core.image_sizes import own_size, size_arguments
from s2a_core.names import timm_name
from s2a_core.sides import ImageSize, sides, timm_size
from s2a_core.sides import image_size as size_of

SQUASH = "squash"  # timm's word for an image that is resized without a crop
TINY = "s2a_tiny"
TINY_BASE = "vit_tiny_patch16_224"  # the model of timm that TINY_SHAPE turns into s2a_tiny
# scripts/train_s2a_tiny.py made its weights; assets/s2a_tiny.json says how and how good they are.
TINY_SHAPE = {"img_size": 32, "patch_size": 4, "embed_dim": 80, "depth": 6, "num_heads": 4}


def load_model(
    name: str,
    weights: str | Path | None = "pretrained",
    num_classes: int | None = None,
    image_size: ImageSize | None = None,
    drop_path: float = 0.0,
    **options: Any,
) -> nn.Module:
    """A timm model, or `s2a_tiny`, in evaluation mode with fp32 weights.

    name: timm's, with or without a tag of weights, also as Hugging Face's hub has it (`timm/NAME`).
    weights: "pretrained" (timm's, downloaded once; ours for s2a_tiny), "none" or None (random; None is ours for
    s2a_tiny), or a safetensors file with timm's names. Without a network and a cache pretrained ones are refused within
    2 seconds, with what to do. A head of another number of classes in the file is left out. image_size: pixels a side,
    or `HEIGHTxWIDTH`, where it is not the model's own; timm builds the model for it and resamples weights.
    drop_path: share of residual branches that training skips. options: arguments of timm.create_model.
    Raises UnknownModel with the nearest names, WeightsMismatch with the first keys that differ, InvalidInput.
    """
    if weights == f"builtin:{TINY}":
        weights = "pretrained"
    name = timm_name(name)
    if drop_path:
        options["drop_path_rate"] = drop_path
    if name == TINY:
        model = _tiny(num_classes, options)
        if weights in (None, "pretrained"):
            with as_file(files("s2a_core.assets").joinpath("s2a_tiny.safetensors")) as path:
                load_weights(model, path, name)
        elif weights != "none":
            load_weights(model, Path(weights), name)
        return _resized_tiny(model, image_size).eval()
    require_model(name)
    if num_classes is not None:
        options["num_classes"] = num_classes
    arguments = size_arguments(name, image_size)
    is_pretrained = weights == "pretrained"
    is_hub_there = True
    try:
        if is_pretrained:
            with network.hub() as is_hub_there:
                model = timm.create_model(name, pretrained=True, **arguments, **options)
        else:
            model = timm.create_model(name, pretrained=False, **arguments, **options)
    except TypeError as error:
        if not drop_path or "drop_path_rate" not in str(error):
            raise
        raise InvalidInput(f"{name} has no drop-path: leave --drop-path out") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        if is_pretrained and "size mismatch" in str(error):
            raise _not_resampled(name, "timm's weights", image_size) from error
        if not is_hub_there:
            raise InvalidInput(
                f"no network: huggingface.co does not answer, so timm's weights of {name} cannot be had: "
                "check the network, give --weights FILE, or --weights none to begin with random ones"
            ) from error
        if is_pretrained:
            raise InvalidInput(
                f"timm's weights of {name} cannot be had ({reason}): check the network, give --weights FILE, "
                "or --weights none to begin with random ones"
            ) from error
        raise InvalidInput(f"{name} cannot be made: {reason}") from error
    if num_classes is not None and not hasattr(model, "get_classifier"):
        raise InvalidInput(f"{name} is an encoder without a classifier: choose a model that classifies images")
    if weights not in (None, "none", "pretrained"):
        load_weights(model, Path(str(weights)), name, {**arguments, **options} if arguments else None)
    elif is_pretrained and num_classes not in (None, _own_classes(model)):
        _start_small(model)
    return model.eval()


def require_model(name: str, weights: str | None = None) -> None:
    """Raises UnknownModel with the nearest names, and InvalidInput for a file of weights that is not there."""
    if name != TINY and not timm.is_model(name.split(".")[0]):
        raise UnknownModel(name, nearest(name.rpartition("/")[2], [*timm.list_models(), TINY]))
    if is_missing_file(weights):
        raise InvalidInput(f"{weights}: no such weights file; give a safetensors file, `pretrained` or `none`")


def is_missing_file(weights: str | None) -> bool:
    """Whether weights are named by a file that is not there."""
    return weights not in (None, "none", "pretrained", f"builtin:{TINY}") and not Path(str(weights)).is_file()


def plain_timm_arguments(name: str, num_classes: int, image_size: ImageSize | None) -> tuple[str, dict[str, Any]]:
    """(name, arguments) with which timm.create_model makes what `load_model` makes, without s2a."""
    if name == TINY:
        size = timm_size(image_size or TINY_SHAPE["img_size"])
        return TINY_BASE, {**TINY_SHAPE, "img_size": size, "num_classes": num_classes}
    return name, {"num_classes": num_classes, **size_arguments(name, image_size)}


def _resized_tiny(model: nn.Module, image_size: ImageSize | None) -> nn.Module:
    """s2a_tiny for images of another size: its position embeddings are resampled as timm's checkpoint filter does."""
    if image_size is not None and sides(image_size) != sides(TINY_SHAPE["img_size"]):
        height, width = sides(image_size)
        if min(height, width) < TINY_SHAPE["patch_size"]:
            raise InvalidInput(f"{TINY} cannot take images of {image_size} pixels: multiples of 4 work, such as 28, 32")
        model.set_input_size(img_size=(height, width))  # type: ignore[operator]
    return model


def load_weights(model: nn.Module, path: Path, name: str, resized: Mapping[str, Any] | None = None) -> None:
    """Load a safetensors file; only the classifier may be missing or of another shape.

    resized: arguments of timm.create_model where the model is for images of another size than its own: weights of the
    own size then go through the model's own checkpoint filter.
    """
    require_model(name, str(path))
    try:
        loaded = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{path} is not a safetensors file ({error})") from error
    known = model.state_dict()
    head = _head_names(model)
    usable = {
        k: v.float() if v.is_floating_point() else v
        for k, v in loaded.items()
        if _fits(known.get(k), v) or k not in head
    }
    missing = [k for k in known if k not in usable and k not in head]
    unexpected = [k for k, v in usable.items() if not _fits(known.get(k), v)]
    if resized is not None and unexpected and not missing:
        usable = _filtered(usable, model, path, name, resized)
    elif missing or unexpected:
        raise WeightsMismatch(str(path), name, missing, unexpected)
    model.load_state_dict(usable, strict=False)
    if not any(k in usable for k in head):
        _start_small(model)


def _filtered(
    usable: dict[str, torch.Tensor], model: nn.Module, path: Path, name: str, arguments: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Weights for another image size, as timm's loading of pretrained ones makes them from those of the own size.

    timm knows each model's filter only inside of its building, so a second model is built from these weights.
    """
    whole = {**model.state_dict(), **usable}
    overlay = {"state_dict": whole, "num_classes": model.num_classes, "label_offset": 0, "custom_load": False}
    try:
        other = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except RuntimeError as error:
        with torch.device("meta"):
            own = timm.create_model(name, num_classes=model.num_classes).state_dict()
        unexpected = [key for key, value in usable.items() if not _fits(own.get(key), value)]
        if unexpected or "size mismatch" not in str(error):
            raise WeightsMismatch(str(path), name, [], unexpected) from error
        raise _not_resampled(name, str(path), arguments.get("img_size")) from error
    head = _head_names(model)
    return {key: value for key, value in other.state_dict().items() if key not in head or key in usable}


def _not_resampled(name: str, source: str, image_size: object) -> InvalidInput:
    return InvalidInput(
        f"{source} of {name} are for images of {own_size(name)} pixels and timm cannot resample them to {image_size}: "
        f"leave --image-size out, or begin with random weights (--weights none)",
        details={"image_size": image_size, "own_image_size": own_size(name)},
    )


def _own_classes(model: nn.Module) -> int | None:
    """Classes timm's pretrained weights were trained on."""
    config: Any = model.pretrained_cfg
    return config.get("num_classes")


def _start_small(model: nn.Module) -> None:
    """A new classifier whose first logits are near zero; timm's own may begin at tens, and then nothing is learned."""
    head = _head_names(model)
    for name, parameter in model.named_parameters():
        if name in head:
            nn.init.trunc_normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)


def data_config(model: nn.Module, image_size: ImageSize | None = None) -> dict[str, Any]:
    """How images reach this model: {"image_size", "mean", "std", "interpolation", "crop_pct"}; of one that answers for
    every pixel also {"crop_mode": "squash"}, as timm calls an image that is resized whole, whatever its shape.
    """
    config: Mapping[str, Any] = resolve_data_config({}, model=model)
    size = size_of(*(config["input_size"][-2:] if image_size is None else sides(image_size)))
    is_whole = getattr(model, "gives_maps", False)
    return {
        "image_size": size,
        "mean": list(map(float, config["mean"])),
        "std": list(map(float, config["std"])),
        "interpolation": str(config["interpolation"]),
        "crop_pct": 1.0 if max(sides(size)) <= 64 or is_whole else float(config["crop_pct"]),
        **({"crop_mode": SQUASH} if is_whole else {}),
    }


def is_random(model: str, weights: str | None) -> bool:
    """Whether a run began from random weights, so that its own file must hold every tensor."""
    return weights == "none" or (weights is None and model != TINY)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether the network normalises over the batch, as most convolutional ones do."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _head_names(model: nn.Module) -> set[str]:
    """State-dict names below the classifier(s) timm knows for this model."""
    find: Any = getattr(model, "get_classifier", lambda: ())  # encoders have none
    classifier = find()
    heads = set(classifier if isinstance(classifier, (list, tuple)) else [classifier])
    prefixes = [name for name, module in model.named_modules() if module in heads and name]
    return {k for k in model.state_dict() if any(k == p or k.startswith(p + ".") for p in prefixes)}


def _fits(wanted: torch.Tensor | None, loaded: torch.Tensor) -> bool:
    return wanted is not None and wanted.shape == loaded.shape


def _tiny(num_classes: int | None, options: Mapping[str, Any]) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(**{**TINY_SHAPE, **options, "num_classes": 52 if num_classes is None else num_classes})
    model.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (3, 32, 32),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "classifier": "head",
        "first_conv": "patch_embed.proj",
    }
    return model
