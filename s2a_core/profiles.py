"""The profiles of what a request leaves open: from memory, from the cache, or measured, as far as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from s2a_core.errors import InfeasibleBudget, without_frames
from s2a_core.planning.choice import Candidate
from s2a_core.profiling.cache import recall, remember
from s2a_core.profiling.types import Profile

# Ends of keys: of a profile with errors and times, of one without them, and of one without sites.
COMPLETE, BYTES_ONLY, WEIGHTS_ONLY = "", "-bytes", "-weights"
Fits = Callable[[Profile], bool]


class Measure(Protocol):
    """Measures a candidate's profile. is_possible, is_wanted: as `s2a_core.profiling.profile` asks them."""

    def __call__(
        self, candidate: Candidate, is_possible: Fits | None = None, is_wanted: Fits | None = None
    ) -> Profile: ...


class Profiles:
    """Profiles by candidate.

    key_of: a candidate's key in the cache; fingerprint_of: of its model and data, which it loads; may_change: what a
    kept profile is of may be other data by now. has_measured: a profile had to be measured for a plan.
    """

    def __init__(
        self,
        cache: Path | None,
        key_of: Callable[[Candidate], str],
        fingerprint_of: Callable[[Candidate], str],
        measure: Measure,
        may_change: bool,
    ) -> None:
        self._cache, self._key_of, self._fingerprint_of, self._measure = cache, key_of, fingerprint_of, measure
        self._may_change = may_change
        self._known: dict[str, dict[Candidate, Profile]] = {COMPLETE: {}, BYTES_ONLY: {}, WEIGHTS_ONLY: {}}
        self._refused: dict[Candidate, InfeasibleBudget] = {}  # the device's cap, which stands, takes no measurement
        self.has_measured = False

    def whole(self, candidate: Candidate) -> Profile:
        """With errors and times."""
        return self.within(candidate, None)

    def within(self, candidate: Candidate, fits: Fits | None, needs_bytes: bool = False) -> Profile:
        """Whole where `fits` says so of its bytes; else of its bytes alone, or of those of its weights and optimizer
        where they say so already. None: whole in any case; needs_bytes: not of weights alone.

        Raises InfeasibleBudget where the model or its measurement does not fit the device's cap.
        """
        if candidate in self._known[COMPLETE]:
            return self._known[COMPLETE][candidate]
        if candidate in self._refused:
            raise self._refused[candidate]
        try:
            return self._sought(candidate, fits, needs_bytes)
        except InfeasibleBudget as refusal:
            self._refused[candidate] = without_frames(refusal)
            raise

    def _sought(self, candidate: Candidate, fits: Fits | None, needs_bytes: bool) -> Profile:
        whole = self._recalled(candidate, COMPLETE)
        if whole is not None:
            self._known[COMPLETE][candidate] = whole
            return whole
        if fits is not None:
            for extent in (BYTES_ONLY,) if needs_bytes else (BYTES_ONLY, WEIGHTS_ONLY):
                partial = self._known[extent].get(candidate) or self._recalled(candidate, extent)
                if partial is not None and not fits(partial):
                    return partial
        self.has_measured = True
        return self._measured(candidate, None if needs_bytes else fits, fits)

    def of_bytes(self, candidate: Candidate) -> Profile | None:
        """Whole or of bytes alone, measured where it must be; None where the budget takes no measurement."""
        known = self.known(candidate)
        try:
            known = known or self._recalled(candidate, COMPLETE) or self._recalled(candidate, BYTES_ONLY)
            return known or self._measured(candidate, None, lambda profile: False)
        except InfeasibleBudget:
            return None

    def known(self, candidate: Candidate) -> Profile | None:
        """Whole or of bytes alone, without loading or measuring anything."""
        known = self._known[COMPLETE].get(candidate) or self._known[BYTES_ONLY].get(candidate)
        if known is not None or self._cache is None or self.has_measured:  # then data may be other than a kept one's
            return known
        key = self._key_of(candidate)
        return recall(self._cache, key) or recall(self._cache, key + BYTES_ONLY)

    def _measured(self, candidate: Candidate, is_possible: Fits | None, is_wanted: Fits | None) -> Profile:
        extent = COMPLETE

        def asked(fits: Fits | None, else_of: str) -> Fits | None:
            if fits is None:
                return None

            def ask(profile: Profile) -> bool:
                nonlocal extent
                extent = COMPLETE if fits(profile) else else_of
                return extent == COMPLETE

            return ask

        profile = self._measure(candidate, asked(is_possible, WEIGHTS_ONLY), asked(is_wanted, BYTES_ONLY))
        self._known[extent][candidate] = profile
        is_cut = profile.profiling_bytes > 0 and profile.chunk_samples == 1  # by this budget: others measure more
        if self._cache is not None and not is_cut:
            remember(self._cache, self._key_of(candidate) + extent, profile)
        return profile

    def _recalled(self, candidate: Candidate, extent: str) -> Profile | None:
        """What is kept to this extent, or a whole profile of the same model and data; None where there is neither."""
        recalled = recall(self._cache, self._key_of(candidate) + extent) if self._cache is not None else None
        if recalled is not None and not self._may_change:
            return recalled
        fingerprint = self._fingerprint_of(candidate)  # a precision left open is the same as the one it becomes
        alike = [profile for profile in (recalled, *self._known[COMPLETE].values()) if profile is not None]
        return next((profile for profile in alike if profile.fingerprint == fingerprint), None)
