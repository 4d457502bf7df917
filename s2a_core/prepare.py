"""A request's data and model, loaded and adapted: what profiles, verification and training run on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.batches import Samples
from s2a_core.compression import prepare_frozen_weights
from s2a_core.compression.frozen import put_back
from s2a_core.datasets import ImageDataset, open_dataset
from s2a_core.device import device_memory, is_out_of_memory, memory_at_failure, open_device, release_cached
from s2a_core.device.memory import CODE_BYTES
from s2a_core.errors import InfeasibleBudget, InvalidInput, OutOfMemory
from s2a_core.kernels import start_native
from s2a_core.models import data_config, is_random, load_model, require_model
from s2a_core.profiling.fingerprint import fingerprint, marked_name
from s2a_core.requests import RunRequest
from s2a_core.sides import ImageSize, sides
from s2a_core.sizes import format_bytes
from s2a_core.storage import AS_NEEDED, WEIGHT_FORMATS, Optimizer, WeightFormat
from s2a_core.tasks import CLASSIFICATION
from s2a_core.tasks.task import Task
from s2a_core.train.images import evaluation_transform
from s2a_core.train.optimizers import require_optimizer

CALIBRATION_IMAGES = 8
NUM_CLASSES = 1000  # of a model without data


@dataclass(frozen=True)
class Prepared:
    """A model with its adapter, and the data it is for. fingerprint: what its plans and profiles carry."""

    model: nn.Module
    name: str
    has_weights: bool
    spec: AdapterSpec
    dataset: ImageDataset | None
    image_size: ImageSize
    precision: str
    device: str
    profiled_as: str = ""

    @property
    def fingerprint(self) -> str:
        """What a plan or profile of this model has to carry: of the model as it is, or as it was when some weights that
        are numbers by now were codes.
        """
        if self.profiled_as:
            return self.profiled_as
        name, spec = marked_name(self.name, self.task.name), str(self.spec)
        return fingerprint(self.model, name, spec, self.image_size, self.precision, self.device, self.has_weights)

    @property
    def task(self) -> Task:
        """The task of the data; classification without."""
        return CLASSIFICATION if self.dataset is None else self.dataset.outputs.task

    def calibration(self) -> tuple[Tensor, Tensor | Samples]:
        """Training images as the network sees them, spread over the data, and their targets with the task's loss.

        Images are [N, 3, H, W], masks [N, H, W]; noise without data. Classes are a tensor [N], for steps take
        their loss by themselves.
        """
        if self.dataset is None:
            images = torch.randn(CALIBRATION_IMAGES, 3, *sides(self.image_size))
            classes = int(getattr(self.model, "num_classes", 0) or NUM_CLASSES)
            return images, torch.arange(CALIBRATION_IMAGES) % classes
        transform = evaluation_transform(data_config(self.model, self.image_size))
        split = self.dataset.train.with_transform(transform)
        last = len(split) - 1
        pairs = [split[round(i * last / max(1, CALIBRATION_IMAGES - 1))] for i in range(CALIBRATION_IMAGES)]
        images = torch.stack([image for image, _ in pairs])
        targets = torch.stack([torch.as_tensor(label) for _, label in pairs])
        if self.task.profiled_loss is None:
            return images, targets
        return images, Samples(targets, len(targets), self.task.profiled_loss)


def _check_task(request: RunRequest, task: Task) -> None:
    """Raises InvalidInput for what a request asks for that its task does not have."""
    if request.data is None and request.task not in (None, task.name):
        raise InvalidInput(f"--task {request.task} is planned for its data: give --data", details={"field": "task"})
    if not task.has_one_class and (request.mixup or request.cutmix):
        raise InvalidInput(
            f"mixup and cutmix blend one class an image, and this is {task.name}: leave them out",
            details={"field": "mixup" if request.mixup else "cutmix"},
        )


def open_data(request: RunRequest) -> ImageDataset | None:
    """A request's data; None without. Raises for everything else in the request that cannot be, before data is read,
    which may take minutes, and for a device that is not there or has no room.
    """
    AdapterSpec.parse(request.adapter)
    require_optimizer(cast("Optimizer | None", request.optimizer))
    require_model(request.model, request.weights)
    device = _device_of(request)
    open_device(device, request.budget_bytes)
    start_native(torch.device(device).type)  # the compiler works while data and model are read
    dataset = open_dataset(request.data, seed=request.seed, task=request.task) if request.data else None
    _check_task(request, CLASSIFICATION if dataset is None else dataset.outputs.task)
    return dataset


def prepare(request: RunRequest, dataset: ImageDataset | None = None, wide_weights: Collection[str] = ()) -> Prepared:
    """Load the data, unless it is there, and the model, and add the adapter.

    wide_weights: of the weights that the request has coded those that stay numbers, by name.
    Raises before anything is measured; InfeasibleBudget where the device's cap is below the model's weights.
    """
    dataset = open_data(request) if dataset is None else dataset
    spec, device = AdapterSpec.parse(request.adapter), _device_of(request)
    open_device(device, request.budget_bytes)
    release_cached(device)  # what a model before this one left
    task = CLASSIFICATION if dataset is None else dataset.outputs.task
    num_classes = len(dataset.classes) if dataset else (request.num_classes or NUM_CLASSES)
    torch.manual_seed(request.seed)
    model = load_model(request.model, request.weights, num_classes, request.image_size, drop_path=request.drop_path)
    image_size: ImageSize = data_config(model, request.image_size)["image_size"]
    if task.network is not None:
        model = task.network(model, num_classes, image_size)
    model = add_adapters(model, spec, image_size)
    precision = request.precision or ("bf16" if device.startswith("cuda") else "fp32")
    codes = WEIGHT_FORMATS[0] if request.weight_format == AS_NEEDED else cast(WeightFormat, request.weight_format)
    is_narrow = device.startswith("cuda") and precision == "bf16"
    numbers = {name: weight for name, weight in model.named_parameters() if name in wide_weights}
    prepare_frozen_weights(model, "bf16" if is_narrow else "keep", codes)  # here: no device sees the wide ones
    prepared = Prepared(
        model,
        request.model,
        has_weights=not is_random(request.model, request.weights),
        spec=cast(AdapterSpec, model.s2a_adapter),
        dataset=dataset,
        image_size=image_size,
        precision=precision,
        device=device,
    )
    if numbers:
        prepared = replace(prepared, profiled_as=prepared.fingerprint)
        put_back(model, numbers)
    _on_device(model, device)
    return prepared


def _device_of(request: RunRequest) -> str:
    return request.device or ("cuda" if torch.cuda.is_available() else "cpu")


def _on_device(model: nn.Module, device: str) -> None:
    """To its device. Raises InfeasibleBudget for a cap below its weights, OutOfMemory for a full device."""
    sizes = (tensor.untyped_storage().nbytes() for tensor in (*model.parameters(), *model.buffers()))
    weights_bytes = sum(sizes)
    # A gradient and two moments, which adamw8bit has smaller; every other part of a step comes on top.
    trained_bytes = 3 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
    try:
        model.to(device)
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason, failure = str(error).splitlines()[0], memory_at_failure(error, device)
    memory = device_memory(device)
    if memory is None or failure.is_device_full or not failure.budget_bytes:
        raise OutOfMemory(
            f"the device has no room for {format_bytes(weights_bytes)} of weights ({reason}): free memory on it, or "
            "use a smaller model",
            details=failure.to_json(),
        )
    raise InfeasibleBudget(
        budget_bytes=failure.budget_bytes,
        min_feasible_budget_bytes=max(
            memory.least_budget_bytes + weights_bytes + trained_bytes, failure.budget_bytes + CODE_BYTES
        ),
        binding="the model's weights",
        binding_bytes=weights_bytes,
        details=failure.to_json(),
        is_estimate=True,
    )
