"""Profiles: what each site of a model costs under each storage. The measuring part loads with torch at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.profiling.types import BaselineCost, Option, Profile, SiteProfile, WorkingSet

if TYPE_CHECKING:
    from s2a_core.profiling.measure import profile, profile_within

__all__ = ["BaselineCost", "Option", "Profile", "SiteProfile", "WorkingSet", "profile", "profile_within"]


def __getattr__(name: str) -> Any:
    if name not in ("profile", "profile_within"):
        raise AttributeError(f"module 's2a_core.profiling' has no attribute {name!r}")
    from s2a_core.profiling import measure

    return getattr(measure, name)
