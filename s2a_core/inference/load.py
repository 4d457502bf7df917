"""Loading the directory of a finished run back into the model that was trained, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression.frozen import prepare_frozen_weights, widen_weights
from s2a_core.device.memory import require_device
from s2a_core.errors import InvalidInput, WeightsMismatch
from s2a_core.models import data_config, is_missing_file, is_random, load_model
from s2a_core.outputs.read import read_document
from s2a_core.outputs.write import ADAPTER, PLAN, REPORT
from s2a_core.tasks import outputs_of
from s2a_core.tasks.task import Outputs

NEEDED = {"model": str, "classes": list, "data_config": dict}  # of a report, to use its run


@dataclass(frozen=True)
class LoadedRun:
    """A finished run. model: in evaluation mode on `device`; report, plan: the documents beside it."""

    directory: Path
    model: torch.nn.Module
    report: Mapping[str, Any]
    plan: Mapping[str, Any]
    device: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, labels or columns, by the index of the model's output."""
        return self.outputs.names

    @property
    def outputs(self) -> Outputs:
        """What the outputs of the model mean."""
        return outputs_of(self.report)


def load_run(directory: Path, weights: str | None = None, device: str = "cpu") -> LoadedRun:
    """Base weights, adapters, trained tensors and frozen-weight storage, as they were at the end of training.

    weights: where the base weights lie, if not where the run took them from.
    Raises InvalidInput where the directory is no finished run, WeightsMismatch where files do not belong together.
    """
    report, plan = read_documents(directory)
    source = weights or report.get("weights")
    require_device(torch.device(device))
    try:
        tensors = load_file(str(directory / ADAPTER))
    except SafetensorError as error:
        raise InvalidInput(f"{directory / ADAPTER} is damaged ({error}): copy it again, or train again") from error
    is_complete = is_random(str(report["model"]), source)
    if weights is None and is_missing_file(source):
        raise InvalidInput(f"the base weights of this run are not at {source} any more: give them with --weights FILE")
    size = report.get("image_size")
    model = load_model(str(report["model"]), "none" if is_complete else source, len(report["classes"]), size)
    if (network := outputs_of(report).task.network) is not None:
        model = network(model, len(report["classes"]), data_config(model, size)["image_size"])
    model = add_adapters(model, AdapterSpec.from_json(report.get("adapter") or plan.get("adapter")), size)
    known = model.state_dict()
    unexpected = [name for name, t in tensors.items() if name not in known or known[name].shape != t.shape]
    missing = [name for name in known if name not in tensors] if is_complete else []
    if unexpected or missing:
        raise WeightsMismatch(str(directory / ADAPTER), str(report["model"]), missing, unexpected)
    model.load_state_dict(tensors, strict=False)
    if not is_complete:  # such a file has the values of training
        coded = plan.get("weight_format", "float"), plan.get("wide_weights", ())
        prepare_frozen_weights(model, plan.get("frozen_weights", "keep"), *coded)
    for parameter in widen_weights(model).parameters():  # the values of training; the network runs in fp32
        parameter.data = parameter.data.float()
    return LoadedRun(directory, model.eval().to(device), report, plan, device)


def read_documents(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(report, plan) of a finished run. Raises InvalidInput where a file is missing or is not what it should be."""
    if not directory.is_dir():
        raise InvalidInput(f"{directory}: no such directory; give the --output of `s2a train`")
    absent = [name for name in (REPORT, PLAN, ADAPTER) if not (directory / name).is_file()]
    if absent:
        raise InvalidInput(
            f"{directory} is not a finished run: {', '.join(absent)} is missing; `s2a train --resume` finishes one",
            details={"missing": absent},
        )
    report, plan = read_document(directory / REPORT), read_document(directory / PLAN)
    wrong = [name for name, kind in NEEDED.items() if not isinstance(report.get(name), kind)]
    if wrong:
        raise InvalidInput(
            f"{directory / REPORT} does not say {', '.join(wrong)}: it is damaged, or s2a did not write it",
            details={"missing": wrong},
        )
    return report, plan
