"""What a profile holds: sites with bytes, error and time of each storage, and the memory around them. No torch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from s2a_core.storage import Storage

VERSION = 1


@dataclass(frozen=True)
class Option:
    """One storage of one site. gradient_error: relative L2 error it alone causes in the trainable gradient."""

    storage: Storage
    bytes_per_sample: int
    gradient_error: float
    extra_ms_per_sample: float


@dataclass(frozen=True)
class SiteProfile:
    """One site. region, block: the sites that, when used, make this one cost nothing."""

    name: str
    op: str
    shape: tuple[int, ...]
    options: tuple[Option, ...]
    region: str | None
    block: str | None


@dataclass(frozen=True)
class WorkingSet:
    """Temporaries of one way of running, beyond what is held: constant_bytes + samples * bytes_per_sample."""

    constant_bytes: int
    bytes_per_sample: int


@dataclass(frozen=True)
class BaselineCost:
    """Peak of a way of training that s2a is compared with: fixed_bytes + samples * bytes_per_sample."""

    name: str
    fixed_bytes: int
    bytes_per_sample: int


@dataclass(frozen=True)
class Profile:
    """A model with an adapter at one image size, precision and device. Bytes; per sample where it says so.

    working: way of running ("exact", "codes", "region", "block") -> temporaries; step_ms_per_sample: the exact step.
    """

    model: str
    adapter: str
    image_size: int
    precision: str
    device: str
    params_bytes: int
    frozen_bytes: int
    trainable_params: int
    buffers_bytes: int
    input_bytes_per_sample: int
    unlisted_bytes_per_sample: int
    working: dict[str, WorkingSet]
    evaluation: WorkingSet
    step_ms_per_sample: float
    sites: tuple[SiteProfile, ...]
    baselines: tuple[BaselineCost, ...]
    calibrated_on: str
    fingerprint: str
    version: int = VERSION

    @property
    def activation_bytes_per_sample(self) -> int:
        """Bytes a sample holds when everything is exact."""
        inside = sum(s.options[0].bytes_per_sample for s in self.sites if s.op not in ("region", "block"))
        return inside + self.unlisted_bytes_per_sample

    def to_json(self) -> dict[str, Any]:
        """The document of the command line's contract."""
        document = dataclasses.asdict(self)
        document["activation_bytes_per_sample"] = self.activation_bytes_per_sample
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Profile:
        """The profile `to_json` wrote."""
        fields = {k: v for k, v in document.items() if k != "activation_bytes_per_sample"}
        fields["working"] = {k: WorkingSet(**v) for k, v in fields["working"].items()}
        fields["evaluation"] = WorkingSet(**fields["evaluation"])
        fields["baselines"] = tuple(BaselineCost(**b) for b in fields["baselines"])
        fields["sites"] = tuple(
            SiteProfile(
                **{
                    **site,
                    "shape": tuple(site["shape"]),
                    "options": tuple(Option(**{**o, "storage": Storage(o["storage"])}) for o in site["options"]),
                }
            )
            for site in fields["sites"]
        )
        return cls(**fields)
