"""What a run is asked for, and what follows from that alone. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from s2a_core.adapters.spec import AUTO, AUTO_ALONE, FALLBACKS, FULL
from s2a_core.errors import InvalidInput
from s2a_core.planning import Plan
from s2a_core.profiling.cache import request_mark

BATCH_SIZE = 64  # where neither the request nor a plan says one


@dataclass(frozen=True)
class RunRequest:
    """What a run needs to know; None takes the model's or device's own.

    budget_bytes: memory it may use; batch_size: images per optimizer step. 0 and None take those of the plan.
    profile_cache: a directory of profiles; one that is there is not measured again.
    """

    model: str
    data: str | None = None
    budget_bytes: int = 0
    output: Path | None = None
    weights: str | None = None
    adapter: str = "auto"
    objective: str = "accuracy"
    batch_size: int | None = None
    epochs: int = 5
    seed: int = 0
    image_size: int | None = None
    precision: str | None = None
    device: str | None = None
    num_classes: int | None = None
    plan: Plan | None = None
    resume: bool = False
    lr: float | None = None
    patience: int | None = None
    ema_decay: float | None = None
    augmentation: str = "mild"
    profile_cache: Path | None = None


def pairs_of(request: RunRequest) -> Path | None:
    """Where (predicted, measured) peaks are kept: beside the profiles."""
    return None if request.profile_cache is None else request.profile_cache.parent / "peak_pairs.jsonl"


def request_mark_of(request: RunRequest) -> str:
    """The key under which a request's profile is kept."""
    names = ("adapter", "weights", "num_classes", "image_size", "precision", "device", "data")
    return request_mark(request.model, **{name: getattr(request, name) for name in names})


def as_planned(request: RunRequest, chosen: Plan) -> RunRequest:
    """The request with the budget, batch, adapter and precision of its plan, where it left them open.

    Raises InvalidInput for another budget or batch than the plan's.
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
    return replace(
        request,
        budget_bytes=chosen.budget_bytes,
        batch_size=chosen.batch_size,
        adapter=chosen_adapter(request.adapter, chosen.adapter),
        precision=request.precision or chosen.precision,
    )


def as_resumed(request: RunRequest, kept: Plan) -> RunRequest:
    """The request of a run that goes on: with the plan it was trained under, which is kept beside its checkpoint.

    For another budget it is planned again, for the adapter, precision and batch that its checkpoint is of.
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
