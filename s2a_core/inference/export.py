"""Exporting a finished run in the format that the file's suffix names, checked against the run's own logits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from s2a_core.adapters import merged_state_dict
from s2a_core.adapters.spec import merge_refusals
from s2a_core.errors import InternalError, InvalidInput
from s2a_core.inference.formats import CHECKPOINT, PACKAGE, SEGMENTER, formats_of, image_size
from s2a_core.inference.load import LoadedRun
from s2a_core.inference.predict import logits
from s2a_core.outputs.atomic import replacing
from s2a_core.sides import sides

TOLERANCE = 1e-4  # of the largest logit: kernels of another library, and merged weights, round differently
CHECKED_IMAGES = 2


def export_name(run: LoadedRun) -> str:
    """What the file of an export is usually called: by its format."""
    return "model.zip" if merged_state_dict(run.model) is None else "model.safetensors"


def export_run(run: LoadedRun, target: Path) -> dict[str, Any]:
    """Write `target` in the format of its suffix; {"format", "path", "bytes", "load", "largest_difference"}.

    load: how to load the file. Before it takes its name the file is loaded that way and its logits are compared with
    the run's: largest_difference is relative to the largest logit. Where the model's outputs are standardised numbers,
    "scale" has their {"mean", "std"} too.
    Raises InvalidInput for a suffix that is no format, or one that cannot hold this run's adapter.
    """
    if target.is_dir():
        raise InvalidInput(f"{target} is a directory; give the name of a file, such as {target / export_name(run)}")
    known = {suffix: file_format for file_format in formats_of(run) for suffix in file_format.suffixes}
    chosen = known.get(target.suffix.lower())
    if chosen is None:
        choices = "; ".join(f"{', '.join(f.suffixes)} ({f.description})" for f in formats_of(run))
        raise InvalidInput(f"{target.name}: the suffix of the file says its format: {choices}")
    if chosen in (CHECKPOINT, SEGMENTER) and merged_state_dict(run.model) is None:
        reasons = "; ".join(merge_refusals(run.report.get("adapter")))
        raise InvalidInput(
            f"{target.name}: plain timm lacks what this adapter adds ({reasons}), so a {target.suffix} file "
            f"cannot hold it: use {PACKAGE.suffixes[0]} or .onnx"
        )
    images = sample_images(run)
    expected = logits(run, images)
    with replacing(target) as part, tempfile.TemporaryDirectory(prefix=".", dir=part.parent) as work:
        path = Path(work) / f"model{target.suffix.lower()}"  # libraries choose their reader by the suffix
        chosen.write(run, path)
        largest = expected.abs().max().clamp_min(1e-12)
        difference = float((chosen.read(run, path, images) - expected).abs().max() / largest)
        if not difference <= TOLERANCE:
            raise InternalError(
                f"the exported file gives other logits than the run (they differ by {difference:.2g} of the largest; "
                f"up to {TOLERANCE:g} is rounding): nothing was written",
                details={"largest_difference": difference},
            )
        path.replace(part)
    return {
        "format": chosen.name,
        "path": str(target),
        "bytes": target.stat().st_size,
        "load": chosen.load_line(run, target),
        "largest_difference": difference,
        **({"scale": run.outputs.scale} if run.outputs.scale else {}),
    }


def sample_images(run: LoadedRun) -> torch.Tensor:
    """Noise as this run's model takes it: [2, 3, H, W]."""
    return torch.randn(CHECKED_IMAGES, 3, *sides(image_size(run)), generator=torch.Generator().manual_seed(0))
