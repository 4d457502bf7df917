"""The profiles of what a request leaves open: from memory, from the cache, or measured, whole or of bytes alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from s2a_core.errors import InfeasibleBudget
from s2a_core.planning.choice import Candidate
from s2a_core.profiling.cache import recall, remember
from s2a_core.profiling.types import Profile

BYTES_ONLY = "-bytes"  # ends the key of a profile without errors and times
Fits = Callable[[Profile], bool]


class Measure(Protocol):
    """Measures a candidate's profile. is_wanted: as `s2a_core.profiling.profile` asks it."""

    def __call__(self, candidate: Candidate, is_wanted: Fits | None = None) -> Profile: ...


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
        self._whole: dict[Candidate, Profile] = {}
        self._of_bytes: dict[Candidate, Profile] = {}
        self.has_measured = False

    def whole(self, candidate: Candidate) -> Profile:
        """With errors and times."""
        return self.within(candidate, None)

    def within(self, candidate: Candidate, fits: Fits | None) -> Profile:
        """Whole where `fits` says so of its bytes, else of its bytes alone. None: whole in any case."""
        if candidate in self._whole:
            return self._whole[candidate]
        whole = self._recalled(candidate, self._key_of(candidate))
        if whole is None:
            if fits is not None:
                key = self._key_of(candidate) + BYTES_ONLY
                of_bytes = self._of_bytes.get(candidate) or self._recalled(candidate, key)
                if of_bytes is not None and not fits(of_bytes):
                    return of_bytes
            self.has_measured = True
            return self._measured(candidate, fits)
        self._whole[candidate] = whole
        return whole

    def of_bytes(self, candidate: Candidate) -> Profile | None:
        """Whole or of bytes alone, measured where it must be; None where the budget takes no measurement."""
        known = self.known(candidate)
        if known is None:
            key = self._key_of(candidate)
            known = self._recalled(candidate, key) or self._recalled(candidate, key + BYTES_ONLY)
        try:
            return known or self._measured(candidate, lambda profile: False)
        except InfeasibleBudget:
            return None

    def known(self, candidate: Candidate) -> Profile | None:
        """Whole or of bytes alone, without loading or measuring anything."""
        known = self._whole.get(candidate) or self._of_bytes.get(candidate)
        if known is not None or self._cache is None or self.has_measured:  # then data may be other than a kept one's
            return known
        key = self._key_of(candidate)
        return recall(self._cache, key) or recall(self._cache, key + BYTES_ONLY)

    def _measured(self, candidate: Candidate, fits: Fits | None) -> Profile:
        is_whole = True

        def is_wanted(profile: Profile) -> bool:
            nonlocal is_whole
            is_whole = fits is None or fits(profile)
            return is_whole

        profile = self._measure(candidate, None if fits is None else is_wanted)
        (self._whole if is_whole else self._of_bytes)[candidate] = profile
        if self._cache is not None:
            remember(self._cache, self._key_of(candidate) + ("" if is_whole else BYTES_ONLY), profile)
        return profile

    def _recalled(self, candidate: Candidate, key: str) -> Profile | None:
        """What is kept under this key, or a whole profile of the same model and data; None where there is neither."""
        kept = recall(self._cache, key) if self._cache is not None else None
        if kept is not None and not self._may_change:
            return kept
        fingerprint = self._fingerprint_of(candidate)  # a precision left open is the same as the one it becomes
        alike = [profile for profile in (kept, *self._whole.values()) if profile is not None]
        return next((profile for profile in alike if profile.fingerprint == fingerprint), None)
