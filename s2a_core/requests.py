"""What a run is asked for: the one list of its fields with defaults, limits and help, and what follows from them alone.

Every door takes its fields from here: the options of the command line, the schemas of the API, the client, the page
and the runner. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2a_core.adapters.spec import AUTO, AUTO_ALONE, FALLBACKS, FULL, AdapterSpec
from s2a_core.adapters.spec import HELP as ADAPTER_HELP
from s2a_core.errors import InvalidInput
from s2a_core.fields import asked, check_all, require_known, rules_of
from s2a_core.names import timm_name
from s2a_core.sides import sides
from s2a_core.sizes import BUDGET_MEANS
from s2a_core.storage import AS_NEEDED, OPTIMIZERS, WEIGHT_FORMATS
from s2a_core.tasks import TASKS

if TYPE_CHECKING:
    from s2a_core.planning.types import Plan

BATCH_SIZE = 64  # where neither the request nor a plan says one
OBJECTIVES = ("accuracy", "speed", "balanced")
PRECISIONS = ("fp32", "bf16")
AUGMENTATIONS = ("mild", "timm", "none")
PRETRAINED, NO_WEIGHTS = "pretrained", "none"
DEVICE = r"(cpu|cuda)(:\d+)?"


@dataclass(frozen=True)
class RunRequest:
    """What a run needs to know; None takes the model's, the plan's or the device's own.

    The fields with a rule are what a person may ask for. The others belong to the program: output, the directory of
    the result; plan, one that is made already; resume, go on from its checkpoint; profile_cache, a directory of
    profiles, where one that is there is not measured again. Raises InvalidInput for a value outside its rule.
    """

    model: str = asked(
        str, ..., "A timm model name, or s2a_tiny, the small ViT that ships with s2a.",
        minimum=1, maximum=200, metavar="MODEL", is_planned=True, form=timm_name,
    )  # fmt: skip
    data: str | None = asked(
        str, None,
        "A directory of images (DIR/CLASS/IMAGE, DIR/{train,val}/CLASS/IMAGE, labels.csv beside them, images/ with "
        "masks/, or COCO annotations), a zip or tar of one, a table of paths and labels (CSV, Parquet), COCO JSON, "
        "`digits`, `torchvision:NAME` or `hf:owner/name`.",
        minimum=1, maximum=1000, metavar="SOURCE", is_planned=True,
    )  # fmt: skip
    budget_bytes: int = asked(
        int, 0, f"Memory the job may use: 4GiB, 4096MiB, 4g, 4GB or bytes. {BUDGET_MEANS}",
        minimum=0, maximum=2**60, spoken="budget", unsaid="the plan's", metavar="SIZE", is_planned=True,
    )  # fmt: skip
    num_classes: int | None = asked(
        int, None, "Classes of the head, where there is no data to count them in.",
        minimum=2, maximum=1_000_000, unsaid="1000", metavar="N", is_planned=True,
    )  # fmt: skip
    weights: str | None = asked(
        str, None, "A safetensors file, `pretrained` (downloads timm's) or `none` for random ones.",
        maximum=1000, metavar="FILE", is_planned=True,
    )  # fmt: skip
    task: str | None = asked(
        str, None, f"What is learned: {'; '.join(f'{task.name}, {task.label}' for task in TASKS.values())}.",
        choices=tuple(TASKS), unsaid="guessed from the data", is_planned=True,
    )  # fmt: skip
    adapter: str = asked(
        str, AUTO, f"What is trained: {ADAPTER_HELP}",
        maximum=100, metavar="KINDS", is_planned=True, words=AdapterSpec.parse,
    )  # fmt: skip
    objective: str = asked(
        str, "accuracy", "What to optimise inside the budget: the gradient's error, the step's time, or both.",
        choices=OBJECTIVES, is_planned=True,
    )  # fmt: skip
    batch_size: int | None = asked(
        int, None, "Images per optimizer step. How many are in memory at once is the plan's choice.",
        minimum=1, maximum=65536, unsaid=f"{BATCH_SIZE}, or the plan's", metavar="N", is_planned=True,
    )  # fmt: skip
    image_size: int | str | None = asked(
        int, None, "Pixels along a side, or HEIGHTxWIDTH, such as 384x640.",
        minimum=8, maximum=4096, unsaid="the model's own", metavar="N", is_planned=True, numbers=sides,
    )  # fmt: skip
    precision: str | None = asked(
        str, None, "The numbers of the forward and backward pass.",
        choices=PRECISIONS, unsaid="the plan's choice", is_planned=True,
    )  # fmt: skip
    weight_format: str = asked(
        str, AS_NEEDED, "How large frozen weights are kept: float, as the precision has them, or as codes that every "
        "product decodes, int8 or nf4 (4 bits). auto takes int8 for as many as the budget asks for, the "
        "least sensitive first.",
        choices=(AS_NEEDED, *WEIGHT_FORMATS), is_planned=True,
    )  # fmt: skip
    optimizer: str | None = asked(
        str, None, "How AdamW keeps its moments: adamw in fp32, 8 bytes a trained weight; adamw8bit in codes, 2 bytes, "
        "for full fine-tuning and large adapters (pip install 's2a[optimizers]').",
        choices=OPTIMIZERS, unsaid="adamw, or the plan's", is_planned=True,
    )  # fmt: skip
    device: str | None = asked(
        str, None, "cpu or cuda.", pattern=DEVICE, pattern_words="cpu or cuda (cuda:N of several)",
        unsaid="cuda where there is one", metavar="NAME", is_planned=True,
    )  # fmt: skip
    seed: int = asked(
        int, 0, "Seed of the split, the weights and the order.",
        minimum=0, maximum=2**31 - 1, metavar="N", is_planned=True,
    )  # fmt: skip
    epochs: int | None = asked(
        int, None, "Passes over the training images.",
        minimum=1, maximum=10_000, unsaid="5, more of small data", metavar="N",
    )  # fmt: skip
    lr: float | None = asked(
        float, None, "Learning rate of what is trained but the classifier.",
        above=0.0, maximum=100.0, unsaid="the adapter's own", metavar="X",
    )  # fmt: skip
    patience: int | None = asked(
        int, None, "Stop after so many epochs without a better accuracy.",
        minimum=1, maximum=10_000, unsaid="never", metavar="N",
    )  # fmt: skip
    ema_decay: float | None = asked(
        float, None, "Decay of an average of the weights, which is evaluated and kept instead of the last ones.",
        minimum=0.0, maximum=0.99999, short=("ema",), unsaid="no average", metavar="X", is_planned=True,
    )  # fmt: skip
    augmentation: str = asked(
        str, "mild", "mild crops and mirrors; timm adds RandAugment and erasing; none.",
        choices=AUGMENTATIONS, short=("augment",),
    )  # fmt: skip
    weight_decay: float = asked(
        float, 0.01, "Decay of the weights a step, times the rate; biases and scales have none.",
        minimum=0.0, maximum=1.0, metavar="X",
    )  # fmt: skip
    warmup: float = asked(
        float, 0.1, "Share of the steps over which the rate rises to its full height.",
        minimum=0.0, maximum=0.9, metavar="X",
    )  # fmt: skip
    label_smoothing: float = asked(
        float, 0.1, "Share of each label that is spread over all classes while training, of one class an image; losses "
        "are told without it.",
        minimum=0.0, maximum=0.9, metavar="X",
    )  # fmt: skip
    mixup: float = asked(
        float, 0.0, "Alpha of timm's mixup: each training image is blended with another one, and so are their labels.",
        minimum=0.0, maximum=10.0, unsaid="0, no mixup", metavar="X",
    )  # fmt: skip
    cutmix: float = asked(
        float, 0.0, "Alpha of timm's cutmix: a part of each training image comes from another one; beside mixup, half.",
        minimum=0.0, maximum=10.0, unsaid="0, no cutmix", metavar="X",
    )  # fmt: skip
    drop_path: float = asked(
        float, 0.0, "Share of the residual branches that training skips at random, the more the deeper.",
        minimum=0.0, maximum=0.9, unsaid="0, none", metavar="X", is_planned=True,
    )  # fmt: skip
    workers: int | None = asked(
        int, None, "Processes that read images ahead.",
        minimum=0, maximum=64, unsaid="none on CPU, up to 4 on CUDA", metavar="N",
    )  # fmt: skip
    output: Path | None = None
    plan: Plan | None = None
    resume: bool = False
    profile_cache: Path | None = None

    def __post_init__(self) -> None:
        check_all(FIELDS, vars(self))
        for name, rule in FIELDS.items():
            object.__setattr__(self, name, rule.plain(getattr(self, name)))


FIELDS = rules_of(RunRequest)
PLANNED_FIELDS = tuple(name for name, rule in FIELDS.items() if rule.is_planned)
DEFAULTS: dict[str, Any] = {name: RunRequest.__dataclass_fields__[name].default for name in FIELDS if name != "model"}


def request_of(values: Mapping[str, Any], **own: Any) -> RunRequest:
    """A RunRequest from values by field; None is nothing said. own: the program's fields.

    Raises UnknownField with the nearest name, and InvalidInput for a value outside its rule.
    """
    said = {name: value for name, value in {**values, **own}.items() if value is not None}
    require_known(said, RunRequest.__dataclass_fields__)
    if "model" not in said:
        raise InvalidInput("a request needs a model: a timm name, or s2a_tiny", details={"field": "model"})
    return RunRequest(**said)


def starting_weights(model: str, weights: str | None) -> str | None:
    """Where training, its profile and its plan start from: pretrained weights where nothing is said.

    None is the model's own choice: s2a_tiny's weights.
    """
    return PRETRAINED if weights is None and model != "s2a_tiny" else weights


def starting_adapter(adapter: str | None, weights: str | None) -> str:
    """What is trained where nothing is said: all of a random network, in which there is nothing to adapt."""
    return adapter or (FULL if weights == NO_WEIGHTS else AUTO)


def filled(said: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What was said, and of the named fields the default where nothing was and there is one."""
    unsaid = {name: DEFAULTS[name] for name in names if DEFAULTS.get(name)} | {"seed": 0, "batch_size": BATCH_SIZE}
    unsaid["adapter"] = starting_adapter(None, said.get("weights"))
    return {name: value for name, value in unsaid.items() if name in names} | dict(said)


def option_of(name: str) -> str:
    """The first option of a field on the command line: `--ema` of ema_decay."""
    rule = FIELDS[name]
    return "--" + (*rule.short, rule.spoken or name)[0].replace("_", "-")


def spoken_names(names: Iterable[str] = FIELDS) -> list[str]:
    """Fields as people write them: `budget`, not `budget_bytes`."""
    return [FIELDS[name].spoken or name for name in names]


def pairs_of(request: RunRequest) -> Path | None:
    """Where (predicted, measured) peaks are kept: beside the profiles."""
    return None if request.profile_cache is None else request.profile_cache.parent / "peak_pairs.jsonl"


def request_mark_of(request: RunRequest) -> str:
    """The key under which a request's profile is kept."""
    from s2a_core.profiling.cache import request_mark

    names = (
        "task",
        "adapter",
        "weights",
        "num_classes",
        "image_size",
        "precision",
        "weight_format",
        "device",
        "data",
        "drop_path",
    )
    return request_mark(request.model, **{name: getattr(request, name) for name in names})


def as_planned(request: RunRequest, chosen: Plan) -> RunRequest:
    """The request with the budget, batch, adapter, precision, weight format and optimizer of its plan, where it left
    them open.

    Raises InvalidInput for another budget, batch or optimizer than the plan's.
    """
    if request.budget_bytes not in (0, chosen.budget_bytes):
        raise InvalidInput(
            f"the plan is for a budget of {chosen.budget_bytes:,} bytes, not {request.budget_bytes:,}: leave the "
            "budget out, or plan again for the other one",
            details={"budget_bytes": request.budget_bytes, "plan_budget_bytes": chosen.budget_bytes},
        )
    if request.batch_size not in (None, chosen.batch_size):
        raise InvalidInput(
            f"the plan is for batches of {chosen.batch_size} images, not {request.batch_size}: leave the batch size "
            "out, or plan again for the other one",
            details={"batch_size": request.batch_size, "plan_batch_size": chosen.batch_size},
        )
    if request.optimizer not in (None, chosen.optimizer):
        raise InvalidInput(
            f"the plan is for {chosen.optimizer}, not {request.optimizer}: leave the optimizer out, or plan again",
            details={"optimizer": request.optimizer, "plan_optimizer": chosen.optimizer},
        )
    return replace(
        request,
        budget_bytes=chosen.budget_bytes,
        batch_size=chosen.batch_size,
        adapter=chosen_adapter(request.adapter, chosen.adapter),
        precision=request.precision or chosen.precision,
        optimizer=chosen.optimizer,
        weight_format=chosen.weight_format if request.weight_format == AS_NEEDED else request.weight_format,
    )


def as_resumed(request: RunRequest, kept: Plan) -> RunRequest:
    """The request of a run that goes on: with the plan it was trained under, which is kept beside its checkpoint.

    For another budget it is planned again, for the adapter, precision, weights and batch that its checkpoint is of.
    Raises InvalidInput for another batch.
    """
    if request.budget_bytes in (0, kept.budget_bytes):
        return replace(as_planned(request, kept), plan=kept)
    if request.plan is not None:
        return request
    again = as_planned(replace(request, budget_bytes=0), kept)
    return replace(again, budget_bytes=request.budget_bytes, adapter=pinned_adapter(request.adapter, kept))


def pinned_adapter(adapter: str, chosen: Plan) -> str:
    """The words that give a plan's adapter again and no other, for a request of `adapter` that is planned anew."""
    again = chosen_adapter(adapter, chosen.adapter)
    return AUTO_ALONE if again == AUTO else again


def chosen_adapter(adapter: str, words: str) -> str:
    """What a request of `adapter` trains under a plan of these words, for its model.

    The words say neither rank nor width, so what `auto` is by itself stays `auto`.
    """
    return words if adapter == AUTO and words in (*FALLBACKS, FULL) else adapter
