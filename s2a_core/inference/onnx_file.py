"""Writing a model as ONNX and running such a file, through torch.onnx and onnxruntime (the extra `s2a[onnx]`)."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from s2a_core.errors import InvalidInput
from s2a_core.sides import ImageSize, sides
from s2a_core.sizes import format_bytes

MAX_BYTES = 2 * 2**30 - 2**20  # one protobuf message holds less than 2 GiB
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def write_onnx(model: nn.Module, image_size: ImageSize, path: Path, facts: Mapping[str, str]) -> None:
    """`images` [N, 3, H, W], normalised, to `logits` [N, classes], of segmentation [N, classes, H, W], for any N.

    facts go to the file's metadata.

    Raises InvalidInput where the packages are missing, the model is too large for one file, or has no ONNX form.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InvalidInput(f"ONNX needs {', '.join(missing)}: pip install 's2a[onnx]'", details={"missing": missing})
    num_bytes = sum(t.nbytes for t in model.state_dict().values())
    if num_bytes > MAX_BYTES:
        raise InvalidInput(
            f"the model takes {format_bytes(num_bytes)}, and one ONNX file holds less than 2,048 MiB: use .safetensors"
        )
    images = torch.zeros(2, 3, *sides(image_size))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns about its own operators
            program = torch.onnx.export(
                model,
                (images,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise InvalidInput(
            f"torch.onnx cannot convert {facts['architecture']} ({str(error).strip().splitlines()[0][:200]}): "
            "use .safetensors or .zip"
        ) from error
    assert program is not None
    program.model.metadata_props.update(facts)
    program.save(path, external_data=False)


def onnx_logits(path: Path, images: Tensor) -> Tensor:
    """Logits [N, classes] of an ONNX file on the CPU. images: [N, 3, H, W]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(values)
