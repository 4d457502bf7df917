"""The formats of an export: a checkpoint of plain timm or of a segmenter, ONNX, and a package that s2a loads."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from s2a_core.adapters import merged_state_dict
from s2a_core.inference.load import LoadedRun, load_run
from s2a_core.inference.onnx_file import onnx_logits, write_onnx
from s2a_core.inference.predict import logits
from s2a_core.models import data_config, plain_timm_arguments
from s2a_core.outputs.atomic import plain
from s2a_core.outputs.tensors import save_tensors
from s2a_core.outputs.write import ADAPTER, PLAN, REPORT
from s2a_core.segmenter import load_segmenter
from s2a_core.sides import ImageSize


@dataclass(frozen=True)
class Format:
    """One format. write(run, path); read(run, path, images [N, 3, H, W]) -> logits; load_line(run, path) -> Python."""

    name: str
    suffixes: tuple[str, ...]
    description: str
    write: Callable[[LoadedRun, Path], None]
    read: Callable[[LoadedRun, Path, Tensor], Tensor]
    load_line: Callable[[LoadedRun, Path], str]


def _write_checkpoint(run: LoadedRun, path: Path) -> None:
    tensors = _full_precision(_merged(run))
    if path.suffix == ".safetensors":
        save_tensors(tensors, path, {"format": "pt", **_facts(run)})
    else:
        torch.save(tensors, path)


def _read_checkpoint(run: LoadedRun, path: Path, images: Tensor) -> Tensor:
    name, arguments = _timm_arguments(run)
    return _logits(timm.create_model(name, **arguments, checkpoint_path=str(path)).eval(), images)


def _read_segmenter(run: LoadedRun, path: Path, images: Tensor) -> Tensor:
    return _logits(load_segmenter(path, *_segmenter_arguments(run)), images)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(images).float()
    return logits


def _checkpoint_line(run: LoadedRun, path: Path) -> str:
    name, arguments = _timm_arguments(run)
    words = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"timm.create_model({name!r}, {words}, checkpoint_path={str(path)!r})"


def _segmenter_line(run: LoadedRun, path: Path) -> str:
    words = ", ".join(map(repr, (str(path), *_segmenter_arguments(run))))
    return f"s2a_core.segmenter.load_segmenter({words})"


def _write_onnx(run: LoadedRun, path: Path) -> None:
    """The merged model where the adapter merges, so that the graph has no more operators than timm's model."""
    state, model = merged_state_dict(run.model), run.model
    if state is not None:
        model = plain_network(run)
        model.load_state_dict(_full_precision(state))
    write_onnx(model.eval().cpu(), image_size(run), path, _facts(run))


def _write_package(run: LoadedRun, path: Path) -> None:
    """A zip of the run whose adapter.safetensors holds every tensor, so that no other file is needed."""
    report = {**run.report, "weights": "none"}
    plan = {**run.plan, "frozen_weights": "keep"}
    with tempfile.TemporaryDirectory() as work:
        whole = Path(work) / ADAPTER
        tensors = _full_precision(run.model.state_dict())
        save_tensors(tensors, whole, {"format": "pt", "model": str(run.report["model"])})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
            package.write(whole, ADAPTER)
            package.writestr(REPORT, json.dumps(report, indent=2))
            package.writestr(PLAN, json.dumps(plan, indent=2))
            card = run.directory / "README.md"
            if card.is_file():
                with package.open("README.md", "w") as file, card.open("rb") as source:
                    shutil.copyfileobj(source, file)


def _read_package(run: LoadedRun, path: Path, images: Tensor) -> Tensor:
    with tempfile.TemporaryDirectory() as work:
        with zipfile.ZipFile(path) as package:
            package.extractall(work)
        return logits(load_run(Path(work)), images)


def _package_line(run: LoadedRun, path: Path) -> str:
    return f"s2a_core.inference.load_run(Path(DIR)) after unpacking {path.name} to DIR"


def _onnx_line(run: LoadedRun, path: Path) -> str:
    return f"onnxruntime.InferenceSession({str(path)!r}).run(None, {{'images': images}})"


def plain_network(run: LoadedRun) -> nn.Module:
    """The run's network without adapters, with other weights."""
    name, arguments = _timm_arguments(run)
    model, task = timm.create_model(name, **arguments), run.outputs.task
    return model if task.network is None else task.network(model, len(run.classes), image_size(run))


def _segmenter_arguments(run: LoadedRun) -> tuple[str, int, ImageSize]:
    """Of load_segmenter, behind the file."""
    return str(run.report["model"]), len(run.classes), image_size(run)


def _merged(run: LoadedRun) -> dict[str, Tensor]:
    state = merged_state_dict(run.model)
    assert state is not None  # export_run refuses what does not merge
    return state


def _full_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, floats in fp32, which loads everywhere and changes no value."""
    return {
        name: t.detach().to("cpu", torch.float32 if t.is_floating_point() else t.dtype).clone().contiguous()
        for name, t in state.items()
    }


def _timm_arguments(run: LoadedRun) -> tuple[str, dict[str, Any]]:
    return plain_timm_arguments(str(run.report["model"]), len(run.classes), run.report.get("image_size"))


def image_size(run: LoadedRun) -> ImageSize:
    """Of the images that a run takes."""
    size: ImageSize = data_config(run.model, run.report.get("image_size"))["image_size"]
    return size


def _facts(run: LoadedRun) -> dict[str, str]:
    """What a file says about itself, as text."""
    scale = {"scale": json.dumps(run.outputs.scale)} if run.outputs.scale else {}  # number = output * std + mean
    return {
        "architecture": str(run.report["model"]),
        "task": run.outputs.task.name,
        "image_size": str(image_size(run)),
        "num_classes": str(len(run.classes)),
        "classes": json.dumps(run.classes),
        "data_config": json.dumps(plain(run.report.get("data_config") or {})),
        **scale,
    }


CHECKPOINT = Format(
    "timm",
    (".safetensors", ".pt", ".pth"),
    "a checkpoint of plain timm",
    _write_checkpoint,
    _read_checkpoint,
    _checkpoint_line,
)
SEGMENTER = Format(
    "segmenter",
    CHECKPOINT.suffixes,
    "a checkpoint of a timm backbone with its segmentation head, for s2a_core.segmenter",
    _write_checkpoint,
    _read_segmenter,
    _segmenter_line,
)
ONNX = Format(
    "onnx",
    (".onnx",),
    "an ONNX model from normalised images to logits",
    _write_onnx,
    lambda run, path, images: onnx_logits(path, images),
    _onnx_line,
)
PACKAGE = Format(
    "s2a",
    (".zip",),
    "a package for s2a, with any adapter",
    _write_package,
    _read_package,
    _package_line,
)
FORMATS = (CHECKPOINT, SEGMENTER, ONNX, PACKAGE)


def formats_of(run: LoadedRun) -> tuple[Format, Format, Format]:
    """Those that can hold a run: a checkpoint of its kind of network first."""
    return (CHECKPOINT if run.outputs.task.network is None else SEGMENTER, ONNX, PACKAGE)
