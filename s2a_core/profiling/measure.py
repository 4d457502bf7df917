"""`profile`: what each site of a model costs under each storage, measured in real steps of small batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.adapters.apply import trained_state
from s2a_core.batches import Loss, Samples, repeated, sample_bytes, samples_of_pair, shapes, target_bytes
from s2a_core.compression import SiteSpec, discover
from s2a_core.compression.frozen import is_frozen_number, narrowed_numbers, weight_format_of
from s2a_core.device import (
    MemoryAtFailure,
    device_memory,
    device_of,
    is_device_failure,
    is_out_of_memory,
    memory_at_failure,
    release_cached,
)
from s2a_core.device.memory import CODE_BYTES
from s2a_core.errors import InfeasibleBudget, InvalidInput, OutOfMemory, without_frames
from s2a_core.models import has_batch_norm
from s2a_core.operators.batch_norm import batch_norms
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.profiling.alive import alive_while_profiling
from s2a_core.profiling.baselines import measure_baselines
from s2a_core.profiling.fingerprint import fingerprint, marked_name
from s2a_core.profiling.fitted import fitted_tables
from s2a_core.profiling.measuring import Measuring
from s2a_core.profiling.progress import await_kernels, listener, stage
from s2a_core.profiling.runs import unchanged
from s2a_core.profiling.timeline import START
from s2a_core.profiling.types import BaselineCost, Profile, WorkingSet
from s2a_core.profiling.weights import weight_profiles
from s2a_core.sides import ImageSize, sides
from s2a_core.storage import FrozenWeights
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.train.optimizers import adamw_step_bytes, coded_cost
from s2a_core.train.types import OnEvent

PROFILE_SAMPLES = 4
# Fewer samples show the same bytes in less time. Two are enough where nothing but a stem convolves: a convolution of
# one sample works unlike those of more, so lines start at two, and above so many parameters three are measured.
LARGE_MODEL = 30_000_000
STEM_CONVOLUTIONS = 4
FEWEST = 1
FEWEST_WITH_BATCH_NORM = 3  # two batches of more than one sample, which BatchNorm refuses where a map is a single value


def profile(
    model: nn.Module,
    image_size: ImageSize = 224,
    batch_size: int = 4,
    precision: str = "fp32",
    calibration: tuple[Tensor, Tensor | Samples] | None = None,
    *,
    example: tuple[Any, Any] | None = None,
    loss: Loss | None = None,
    input_copies: int = 1,
    name: str = "",
    adapter: str = "",
    has_baselines: bool = True,
    sensitivity_s: float = 10.0,
    refine_s: float = 5.0,
    has_weights: bool = True,
    task: str = "classification",
    progress: bool | OnEvent = False,
    is_possible: Callable[[Profile], bool] | None = None,
    is_wanted: Callable[[Profile], bool] | None = None,
) -> Profile:
    """The profile of a model with its trainable parameters set. The model stays as it was but for frozen bf16 weights.

    batch_size: samples of the larger of the two measured batches; of 2 with BatchNorm 3 are measured. 1 takes least
    memory: everything is then said to grow with the samples. BatchNorm that estimates statistics needs 3.
    calibration: images [N, 3, H, W] and labels [N], or targets with their loss as Samples, to which derivative tables
    are fitted, repeated where fewer than the batch; noise and universal tables without.
    example, loss: for any other model: (inputs, targets) and the loss of what the model returns and the targets, a
    scalar that is a mean over samples. inputs: a tensor, a tuple of arguments or a dict of named ones; targets: any
    (see s2a_core.batches.Samples). Repeated where they are fewer than the batch.
    input_copies: batches of inputs that the loop holds at once; 2 where its loader fetches the next one meanwhile.
    sensitivity_s: seconds for the errors, more widths where they allow it; 0 takes nominal ones and only bytes.
    refine_s: seconds spent on telling apart sites of one shape. has_weights: the frozen weights are not random, so the
    profile is of these only. task: what the targets are of, where one model may be trained for several.
    progress: True writes lines to stderr; a callback takes {"type": "stage", "phase": "profiling", "message"} as each
    stage begins, and {"type": "progress", "phase": "profiling", "done", "total", "eta_s"} after each group of sites.
    is_possible: is shown a profile without sites before anything runs, whose bytes are of weights and optimizer alone;
    where it says no, that is what is returned.
    is_wanted: is shown the profile of bytes alone, without errors, times and baselines, which take most of the time;
    where it says no, that is what is returned.
    Raises InvalidInput for a precision or batch it cannot use, and for an image size the model refuses; OutOfMemory.
    """
    if precision not in ("fp32", "bf16"):
        raise InvalidInput(f"the precision is fp32 or bf16, not {precision!r}")
    if batch_size < FEWEST:
        raise InvalidInput(f"a profile needs batches of at least {FEWEST} sample, not {batch_size}")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise InvalidInput("this model has no trainable parameters: add adapters before profiling")
    device = trained[0].device
    fewest = _fewest_samples(model, adapter)
    samples = max(batch_size, fewest)
    if samples == 2 and has_batch_norm(model):
        samples = FEWEST_WITH_BATCH_NORM
    with _out_of_memory_reported(image_size, device):
        x, y = _batch(model, image_size, samples, calibration, device, example, loss)
    on_event = listener(progress)
    await_kernels(device.type, on_event)
    is_calibrated = calibration is not None or example is not None
    of_inputs = f"{name} {shapes(x[:1])}" if isinstance(x, Samples) else name
    mark = fingerprint(model, marked_name(of_inputs, task), adapter, image_size, precision, str(device), has_weights)
    coded = sum(p.codes.num_bytes for p in model.parameters() if isinstance(p, NarrowWeight))
    frozen = sum(p.numel() for p in model.parameters() if is_frozen_number(p))
    narrowed = sum(p.numel() for p in narrowed_numbers(model))
    num_trained = sum(p.numel() for p in trained)
    dtypes = [p.dtype for p in model.parameters()]
    narrow: FrozenWeights = "bf16" if precision == "bf16" else "keep"
    release_cached(device)
    with _out_of_memory_reported(image_size, device), unchanged(model):
        memory, profiling_bytes = device_of(device), 0

        def made(
            measuring: Measuring, evaluation: dict[str, WorkingSet], baselines: Sequence[BaselineCost] = ()
        ) -> Profile:
            return Profile(
                model=name,
                adapter=adapter,
                image_size=image_size,
                precision=precision,
                device=str(device),
                params_bytes=4 * (frozen + num_trained) + coded,
                frozen_bytes=4 * narrowed,
                trainable_params=num_trained,
                state_bytes=sum(tensor.nbytes for tensor in trained_state(model).values()),
                buffers_bytes=sum(b.untyped_storage().nbytes() for b in model.buffers()),
                input_bytes_per_sample=input_copies * (sample_bytes(x) + target_bytes(y)),
                optimizer_bytes=adamw_step_bytes(trained),
                start=measuring.work.get(START, {}),
                evaluation=evaluation,
                step_ms_per_sample=measuring.times.step_ms_per_sample,
                sites=tuple(measuring.site_profile(spec) for spec in measuring.specs),
                shared=measuring.shared,
                live=measuring.live,
                weights=weight_profiles(model, precision, measuring.weight_errors),
                baselines=tuple(baselines),
                calibrated_on="images of the data set" if is_calibrated else "noise",
                fingerprint=mark,
                min_micro_batch=measuring.min_micro_batch,
                chunk_samples=len(x),
                chunk_ms=measuring.times.chunk_ms,
                chunk_launches=measuring.times.chunk_launches,
                step_overhead_ms=measuring.times.overhead_s * 1e3,
                launches=measuring.times.launches,
                tables=measuring.tables,
                device_parts={} if memory is None else memory.parts(),
                weight_format=weight_format_of(model),
                code_bytes=0 if memory is None else memory.code_bytes(),
                workspaces=() if memory is None else memory.workspaces_by_budget(),
                profiling_bytes=profiling_bytes,
                resident_threads=0 if memory is None else memory.resident_threads,
                coded_optimizer=coded_cost(trained),
                task=task,
            )

        if is_possible is not None:
            without_sites = made(Measuring(model, x, y, precision, (), narrow), {"exact": WorkingSet(0, 0)})
            if not is_possible(without_sites):
                return without_sites
        training_mode(model, resting_modules(model, adapter))
        stage(on_event, "finding what the model keeps for backward")
        specs = _sites(model, x, precision, image_size)
        if is_calibrated:
            stage(on_event, "fitting code tables to your images")
        tables = fitted_tables(model, x, precision) if is_calibrated else ()
        measuring = Measuring(model, x, y, precision, specs, narrow, tables, on_event)
        measuring.ways()
        stage(on_event, "measuring an evaluation step")
        evaluation = measuring.evaluation()
        if memory is not None:
            profiling_bytes = alive_while_profiling(measuring, fewest, memory)
        if is_wanted is not None:
            with measuring.nominal():
                of_bytes = made(measuring, evaluation)
            if not is_wanted(of_bytes):
                return of_bytes
        measuring.sites(sensitivity_s, refine_s)
        baselines = measure_baselines(model, x, y, precision, on_event, dtypes) if has_baselines else ()
        return made(measuring, evaluation, baselines)


def profile_samples(model: nn.Module) -> int:
    """Samples of the larger of a profile's two batches."""
    if sum(isinstance(module, nn.Conv2d) for module in model.modules()) <= STEM_CONVOLUTIONS:
        return 2
    return PROFILE_SAMPLES if sum(p.numel() for p in model.parameters()) <= LARGE_MODEL else 3


def profile_within(
    model: nn.Module,
    image_size: ImageSize,
    batch_size: int,
    precision: str,
    calibration: tuple[Tensor, Tensor | Samples] | None = None,
    **options: Any,
) -> Profile:
    """`profile` with as few samples as the device's budget takes, from `batch_size` down.

    Raises InfeasibleBudget where not even those fit, OutOfMemory where neighbours left less than the budget.
    """
    device = next(model.parameters()).device
    fewest = _fewest_samples(model, options.get("adapter", ""))
    for samples in range(max(batch_size, fewest), fewest - 1, -1):
        if samples == 2 and has_batch_norm(model):  # for which 3 were measured
            continue
        try:
            return profile(model, image_size, samples, precision, calibration, **options)
        except OutOfMemory as error:
            memory = device_memory(device)
            budget_bytes = 0 if memory is None else memory.budget_bytes
            if not budget_bytes:
                raise
            failure = without_frames(error)
        model.zero_grad(set_to_none=True)
        release_cached(device)
    if MemoryAtFailure.from_json(failure.details).is_device_full:
        raise failure
    needed = budget_bytes + max(int(failure.details["asked_bytes"]), CODE_BYTES)
    raise InfeasibleBudget(
        budget_bytes=budget_bytes,
        min_feasible_budget_bytes=needed,
        binding=f"profiling {fewest} image{'s' * (fewest > 1)}",
        binding_bytes=int(failure.details["held_bytes"]),
        details=failure.details,
        is_estimate=True,
    )


def _fewest_samples(model: nn.Module, adapter: str) -> int:
    resting = set(resting_modules(model, adapter))
    is_estimating = any(norm not in resting or norm.running_mean is None for norm in batch_norms(model))
    return FEWEST_WITH_BATCH_NORM if is_estimating else FEWEST


def _sites(model: nn.Module, x: Tensor | Samples, precision: str, image_size: ImageSize) -> tuple[SiteSpec, ...]:
    try:
        return discover(model, x[:2], precision)
    except (RuntimeError, AssertionError, ValueError) as error:
        if is_out_of_memory(error) or is_device_failure(error):
            raise
        given = "the example" if isinstance(x, Samples) else f"images of {image_size} pixels"
        raise InvalidInput(f"the model refuses {given}: {error}") from error


@contextmanager
def _out_of_memory_reported(image_size: ImageSize, device: torch.device) -> Iterator[None]:
    """Raises OutOfMemory for torch's own error, with the numbers of that moment."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        memory = memory_at_failure(error, device)
        raise OutOfMemory(
            f"the device ran out of memory while the model was profiled on images of {image_size} pixels: free memory "
            f"on it, or use a smaller image size or model ({str(error).splitlines()[0]})",
            details=memory.to_json(),
        ) from error


def _batch(
    model: nn.Module, size: ImageSize, samples: int, calibration: tuple[Tensor, Tensor | Samples] | None,
    device: torch.device, example: tuple[Any, Any] | None, loss: Loss | None,
) -> tuple[Tensor | Samples, Tensor | Samples]:  # fmt: skip
    if example is not None:
        inputs, targets = samples_of_pair(example, loss)
        return repeated(inputs, samples).to(device), repeated(targets, samples).to(device)
    if loss is not None:
        raise InvalidInput("a loss needs an example: profile(model, example=(inputs, targets), loss=loss)")
    if calibration is not None:
        images, labels = calibration
        if len(images) < samples or isinstance(labels, Samples):
            images, labels = repeated(images, samples), repeated(labels, samples)
        return images[:samples].to(device), labels[:samples].to(device)
    generator = torch.Generator().manual_seed(0)
    classes = max(int(getattr(model, "num_classes", 2) or 2), 1)
    x = torch.randn(samples, 3, *sides(size), generator=generator)
    return x.to(device), torch.randint(0, classes, (samples,), generator=generator).to(device)
