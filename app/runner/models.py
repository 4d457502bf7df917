"""`python -m app.runner.models FILE`: write timm's registry as JSON; with --sizes, parameters too (minutes)."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path
from typing import Any

OUR_OWN = "s2a_tiny"


def entries(has_sizes: bool) -> list[dict[str, Any]]:
    """{name, family, input_size, pretrained tags, num_params}, by name. num_params is None where it was not counted."""
    import timm

    listed = [_entry(name, has_sizes) for name in timm.list_models()]
    return sorted([*listed, _our_own()], key=lambda entry: str(entry["name"]))


def _entry(name: str, has_sizes: bool) -> dict[str, Any]:
    from timm.models import get_arch_pretrained_cfgs, model_entrypoint

    tags = get_arch_pretrained_cfgs(name)
    first = next(iter(tags.values()), None)
    size = list(first.input_size) if first is not None and first.input_size else [3, 224, 224]
    return {
        "name": name,
        "family": model_entrypoint(name).__module__.rsplit(".", 1)[-1],
        "input_size": size,
        "pretrained": sorted(tag for tag, config in tags.items() if tag and config.has_weights),
        "num_params": _num_params(name) if has_sizes else None,
    }


def _our_own() -> dict[str, Any]:
    from s2a_core.models import data_config, load_model
    from s2a_core.sides import sides

    model = load_model(OUR_OWN, "none", None)
    height, width = sides(data_config(model)["image_size"])
    count = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": OUR_OWN,
        "family": "s2a",
        "input_size": [3, height, width],
        "pretrained": ["letters"],
        "num_params": count,
    }


def _num_params(name: str) -> int | None:
    """Parameters of a model that is described, not allocated. None where a model cannot be described so."""
    import timm
    import torch

    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(parameter.numel() for parameter in timm.create_model(name, pretrained=False).parameters())
    except Exception:  # models of a registry raise what they like; the list is worth more than one number
        return None


def main(argv: list[str] | None = None) -> int:
    """Write the file in one step."""
    parser = argparse.ArgumentParser(prog="python -m app.runner.models", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", action="store_true")
    args = parser.parse_args(argv)
    document = {"timm": importlib.metadata.version("timm"), "models": entries(args.sizes)}
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in document["models"])
    part = args.file.with_name(f".{args.file.name}.part")
    part.write_text(f'{{"timm": {json.dumps(document["timm"])}, "models": [\n{lines}\n]}}\n', encoding="utf-8")
    part.replace(args.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
