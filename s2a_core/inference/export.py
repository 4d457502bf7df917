"""Exporting a finished run: a checkpoint of plain timm where the adapter merges, otherwise a package for s2a_core."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from s2a_core.adapters import merged_state_dict
from s2a_core.errors import InvalidInput
from s2a_core.inference.load import LoadedRun
from s2a_core.models import data_config
from s2a_core.outputs.atomic import plain, replacing
from s2a_core.outputs.write import ADAPTER, PLAN, REPORT


def export_name(run: LoadedRun) -> str:
    """What the file of an export is usually called: by its format."""
    return "model.zip" if merged_state_dict(run.model) is None else "model.safetensors"


def export_run(run: LoadedRun, target: Path) -> dict[str, Any]:
    """Write `target` and return {"format", "path", "bytes", "load"}.

    format: "timm" (a safetensors file of a full state dict) or "s2a" (a zip of the run with its base weights).
    """
    if target.is_dir():
        raise InvalidInput(f"{target} is a directory; give the name of a file, such as {target / 'model.safetensors'}")
    state = merged_state_dict(run.model)
    model, num_classes = str(run.report["model"]), len(run.classes)
    if state is not None:
        tensors = {name: t.detach().to("cpu", _plain_dtype(t)).clone().contiguous() for name, t in state.items()}
        facts = {
            "format": "pt",
            "architecture": model,
            "num_classes": str(num_classes),
            "classes": json.dumps(run.classes),
            "data_config": json.dumps(plain(run.report.get("data_config") or {})),
        }
        with replacing(target) as part:
            save_file(tensors, str(part), metadata=facts)
        size = _img_size(run)
        load = f"timm.create_model({model!r}, num_classes={num_classes}{size}, checkpoint_path={str(target)!r})"
        return {"format": "timm", "path": str(target), "bytes": target.stat().st_size, "load": load}
    _write_package(run, target)
    load = f"s2a_core.inference.load_run(Path(DIR)) after unpacking {target.name} to DIR"
    return {"format": "s2a", "path": str(target), "bytes": target.stat().st_size, "load": load}


def _img_size(run: LoadedRun) -> str:
    """The argument that timm needs where the model was trained on images of another size than its own."""
    size, own = run.report.get("image_size"), data_config(run.model)["image_size"]
    return f", img_size={size}" if size not in (None, own) and hasattr(run.model, "set_input_size") else ""


def _write_package(run: LoadedRun, target: Path) -> None:
    """A zip of the run whose adapter.safetensors holds every tensor, so that no other file is needed."""
    report = {**run.report, "weights": "none"}
    plan = {**run.plan, "frozen_weights": "keep"}
    with tempfile.TemporaryDirectory() as work, replacing(target) as part:
        whole = Path(work) / ADAPTER
        tensors = {
            name: t.detach().to("cpu", _plain_dtype(t)).clone().contiguous()
            for name, t in run.model.state_dict().items()
        }
        save_file(tensors, str(whole), metadata={"format": "pt", "model": str(run.report["model"])})
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as package:
            package.write(whole, ADAPTER)
            package.writestr(REPORT, json.dumps(report, indent=2))
            package.writestr(PLAN, json.dumps(plan, indent=2))
            card = run.directory / "README.md"
            if card.is_file():
                with package.open("README.md", "w") as file, card.open("rb") as source:
                    shutil.copyfileobj(source, file)


def _plain_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Frozen weights kept in bf16 are exported as fp32, which loads everywhere and changes no value."""
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
