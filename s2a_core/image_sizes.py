"""Which image sizes timm builds a model for, and with what arguments, asked on the meta device."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import timm
import torch

from s2a_core.errors import InvalidInput
from s2a_core.sides import ImageSize, sides, timm_size

_STEPS = (4, 7, 8, 14, 16, 28, 32, 64)  # patches and total strides of timm's models, and windows of them
_MOST_TRIED, _MOST_SHOWN = 12, 4


def own_size(name: str) -> int | None:
    """Pixels per side of the images that `name` was made for; None where timm does not say."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return None if config is None or config.input_size is None else int(config.input_size[-1])


def size_arguments(name: str, image_size: ImageSize | None) -> Mapping[str, Any]:
    """Arguments of timm.create_model that build `name` for images of that size: nothing, or `img_size`.

    Layers that depend on the size (positions, windows) are then timm's own for it. Raises InvalidInput, with sizes near
    it that work, where timm builds no model that takes such images.
    """
    if image_size is None or image_size == own_size(name):
        return {}
    arguments, reason = _attempt(name, image_size)
    if arguments is not None:
        return arguments
    near = _sizes_near(name, max(sides(image_size)))
    advice = f"sizes that work: {', '.join(map(str, near))}" if near else f"its own is {own_size(name)}"
    raise InvalidInput(
        f"{name} cannot take images of {image_size} pixels ({reason}); {advice}",
        details={"image_size": image_size, "sizes_that_work": near},
    )


@functools.lru_cache(maxsize=256)
def _attempt(name: str, image_size: ImageSize) -> tuple[Mapping[str, Any] | None, str]:
    """(arguments of a model that takes such images, or None; the reason where none does)."""
    reason, (height, width) = "", sides(image_size)
    if min(height, width) < 1:
        return None, "it is not positive"
    tries: tuple[dict[str, Any], ...] = ({"img_size": timm_size(image_size)}, {})
    for arguments in tries:
        try:
            with torch.device("meta"), torch.no_grad():
                model = timm.create_model(name, **arguments).eval()
                model(torch.zeros(1, 3, height, width))
        except NotImplementedError:  # an operator without a meta kernel: only a real image would tell
            return arguments, ""
        except Exception as error:  # models refuse sizes with almost any type
            if arguments and isinstance(error, TypeError) and "img_size" in str(error):
                continue  # a network without layers that depend on the size
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            return None, reason
        return arguments, ""
    return None, reason


def _sizes_near(name: str, image_size: int) -> list[int]:
    """Sizes that work, the model's own and up to four near the one that does not."""
    own = own_size(name)
    multiples = {step * count for step in _STEPS for count in (image_size // step, image_size // step + 1)}
    if own is not None:
        multiples |= {own // 2, 2 * own}
    nearest = sorted(multiples - {image_size, 0}, key=lambda size: (abs(size - image_size), size))
    working = [] if own is None else [own]
    for size in nearest[:_MOST_TRIED]:
        if size not in working and _attempt(name, size)[0] is not None:
            working.append(size)
        if len(working) > _MOST_SHOWN:
            break
    return sorted(working)
