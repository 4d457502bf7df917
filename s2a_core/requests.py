"""What a run is asked for, and what follows from that alone. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from s2a_core.adapters.spec import AUTO, AUTO_ALONE, FULL
from s2a_core.planning import Plan
from s2a_core.planning.choice import FALLBACKS
from s2a_core.profiling.cache import request_mark


@dataclass(frozen=True)
class RunRequest:
    """What a run needs to know. budget_bytes: memory it may use; None takes the model's or device's own.

    profile_cache: a directory of profiles; one that is there is not measured again.
    """

    model: str
    data: str | None = None
    budget_bytes: int = 0
    output: Path | None = None
    weights: str | None = None
    adapter: str = "auto"
    objective: str = "accuracy"
    batch_size: int = 64
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
    """The request with the adapter and precision of its plan, where it left them open."""
    precision = request.precision or chosen.precision
    return replace(request, adapter=_chosen_adapter(request.adapter, chosen), precision=precision)


def pinned_adapter(adapter: str, chosen: Plan) -> str:
    """The words that give a plan's adapter again and no other, for a request of `adapter` that is planned anew."""
    again = _chosen_adapter(adapter, chosen)
    return AUTO_ALONE if again == AUTO else again


def _chosen_adapter(adapter: str, chosen: Plan) -> str:
    """A plan's words say neither rank nor width, so what `auto` is by itself stays `auto`."""
    return chosen.adapter if adapter == AUTO and chosen.adapter in (*FALLBACKS, FULL) else adapter
