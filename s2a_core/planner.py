"""`Planner`: one request's profiles, plan and verification. Every door plans here, so all give the same answer.

Torch is loaded only where something has to be measured: a plan from profiles that are there takes no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from s2a_core.errors import InfeasibleBudget, InvalidInput, StaleProfile, without_frames
from s2a_core.planning.choice import Candidate, candidates, plan_over, smallest_over
from s2a_core.planning.objective import Objective
from s2a_core.planning.overhead import Overhead, overhead_of, run_parts
from s2a_core.planning.pairs import recorded
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import plan as plan_one
from s2a_core.planning.search import smallest_budget
from s2a_core.planning.types import Plan
from s2a_core.profiles import Fits, Profiles
from s2a_core.profiling.types import Profile
from s2a_core.requests import BATCH_SIZE, RunRequest, as_planned, pairs_of, request_mark_of
from s2a_core.sizes import format_bytes
from s2a_core.storage import OPTIMIZERS, Optimizer

if TYPE_CHECKING:
    from s2a_core.datasets import ImageDataset
    from s2a_core.prepare import Prepared
    from s2a_core.verify import VerifiedPlan


class Planner:
    """Plans one request. cache: a directory of profiles, the request's unless given; on_event: takes progress.

    prepare: loads the data and model of a request, `s2a_core.prepare.prepare` unless given. Candidates are the
    adapters, precisions and weight formats that the request leaves open.
    """

    def __init__(
        self,
        request: RunRequest,
        cache: Path | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
        prepare: Callable[[RunRequest, Any], Prepared] | None = None,
    ) -> None:
        self.request = request if cache is None else replace(request, profile_cache=cache)
        self.on_event, self._prepare = on_event, prepare
        self._profiles = Profiles(
            self.request.profile_cache,
            lambda candidate: request_mark_of(self._request_for(candidate)),
            lambda candidate: self.prepared(candidate).fingerprint,
            self._measure,
            may_change=self.request.data is not None,
        )
        self._prepared: tuple[Candidate, tuple[str, ...], Prepared] | None = None  # with its wide weights
        self._sources: dict[str, Candidate] = {}  # fingerprint of a plan -> its candidate

    @property
    def candidates(self) -> list[Candidate]:
        """What may be planned, best first. A plan that was given leaves nothing open."""
        request = self.request if self.request.plan is None else as_planned(self.request, self.request.plan)
        if request.plan is not None:
            return [Candidate(request.adapter, request.precision, request.weight_format)]
        return candidates(request.adapter, request.precision, request.weight_format)

    @property
    def are_known(self) -> bool:
        """Whether no profile had to be measured for a plan."""
        return not self._profiles.has_measured

    @cached_property
    def dataset(self) -> ImageDataset | None:
        """The request's data; None without. Raises for a request that cannot be met whatever the budget."""
        from s2a_core.prepare import open_data

        if self.request.data:
            self.on_event({"type": "stage", "phase": "loading", "message": "loading data"})
        return open_data(self._request_for(self.candidates[0]))

    def validate(self) -> ImageDataset | None:
        """The data, after the first candidate's model was loaded, unless that is too large for the budget: another
        candidate's may not be.
        """
        dataset = self.dataset
        with suppress(InfeasibleBudget):
            self.prepared()
        return dataset

    def prepared(self, candidate: Candidate | None = None, wide_weights: tuple[str, ...] = ()) -> Prepared:
        """The model and data of a candidate, the first one's unless given. One is kept in memory.

        wide_weights: those that stay numbers where the candidate's are coded.
        """
        from s2a_core.prepare import prepare
        from s2a_core.profiling.progress import await_kernels

        candidate = candidate or self.candidates[0]
        if self._prepared is None or self._prepared[:2] != (candidate, wide_weights):
            self._prepared = None  # two models are not alive at once
            dataset = self.dataset
            self.on_event({"type": "stage", "phase": "loading", "message": "loading the model"})
            request = self._request_for(candidate)
            wide = {"wide_weights": wide_weights} if wide_weights else {}
            self._prepared = candidate, wide_weights, (self._prepare or prepare)(request, dataset, **wide)
            await_kernels(self._prepared[2].device.partition(":")[0], self.on_event)
        return self._prepared[2]

    def prepared_for(self, plan: Plan) -> Prepared:
        """The model and data that a plan is of. Raises StaleProfile where the request's are others."""
        candidate, wide_weights = self.candidate_of(plan), plan.wide_weights
        if self._prepared is not None and self._prepared[0] == candidate and set(wide_weights) < set(self._prepared[1]):
            self._prepared = candidate, wide_weights, self._prepared[2]  # steps of the plan code the others in place
        prepared = self.prepared(candidate, wide_weights)
        if prepared.fingerprint != plan.fingerprint:
            raise StaleProfile(
                f"the plan is of {plan.model} with {plan.adapter} at {plan.image_size} px, {plan.precision} "
                f"({plan.fingerprint}), not of this model, adapter, weights, device and versions",
                details={"fingerprint": plan.fingerprint},
            )
        return prepared

    def profile(self, candidate: Candidate | None = None) -> Profile:
        """The profile of a candidate, the first one's unless given: from the cache where it is there, else measured."""
        candidate = candidate or self.candidates[0]
        return self._of_data(self._profiles.whole(candidate))

    def measure(self) -> None:
        """Profiles the first candidate, as far as a plan for the request's budget needs it and that budget allows."""
        with suppress(InfeasibleBudget):
            self._profile_within(self.candidates[0], self.request.budget_bytes)

    def _profile_within(self, candidate: Candidate, budget_bytes: int) -> Profile:
        """Of bytes alone where not even the candidate's smallest plan is inside the budget; of weights alone where
        these are not, unless the smallest budget of all may be this candidate's.
        """
        needs_least = candidate.adapter == self.candidates[-1].adapter

        def is_planned_for(part: Profile) -> bool:
            return self.overhead(part).is_accepted(budget_bytes, self._smallest_of(part))

        return self._profiles.within(candidate, is_planned_for, needs_least)

    def plan(self, budget_bytes: int | None = None, among: Sequence[Candidate] = ()) -> Plan:
        """The best plan of any candidate, not verified. budget_bytes: another one than the request's; among: only
        these candidates.

        Raises InfeasibleBudget with the smallest budget of any candidate.
        """
        budget_bytes = self.request.budget_bytes if budget_bytes is None else budget_bytes
        if budget_bytes <= 0:
            raise InvalidInput("the budget must be a positive number of bytes; --budget says it, or the plan of --plan")
        objective = cast(Objective, self.request.objective)

        def profile_of(candidate: Candidate) -> Profile:
            return self._of_data(self._profile_within(candidate, budget_bytes))

        chosen, source = plan_over(
            among or self.candidates, profile_of, budget_bytes, self._batch_size, objective, self.overhead
        )
        self._sources[chosen.fingerprint] = source
        return replace(chosen, min_feasible_budget_bytes=self._smallest(chosen, self._profiles.known))

    def with_smallest(self, plan: Plan) -> Plan:
        """The plan with the smallest budget of any candidate, whose profiles are measured for it, bytes only."""
        return replace(plan, min_feasible_budget_bytes=self._smallest(plan, self._profiles.of_bytes))

    def _smallest(self, plan: Plan, profile_of: Callable[[Candidate], Profile | None]) -> int | None:
        """The smallest budget of any candidate; None where profile_of does not know one that may need least."""
        smallest = smallest_over(self.candidates, profile_of, self._batch_size, self.overhead)
        others = [other.min_feasible_budget_bytes for other in plan.alternatives]
        return None if smallest is None else min(smallest, *others)

    def _smallest_of(self, profile: Profile) -> int:
        return smallest_budget(profile, self._batch_size, self.overhead(profile))

    def profile_of(self, plan: Plan) -> Profile:
        """The profile that a plan is of."""
        return self.profile(self.candidate_of(plan))

    def for_objective(self, plan: Plan, objective: str) -> Plan:
        """The plan of another objective for the same model, budget and batch."""
        profile = self.profile_of(plan)
        overhead = self.overhead(profile)
        wanted, widenable = cast(Objective, objective), self.candidate_of(plan).widenable(profile)
        other = plan_one(profile, plan.budget_bytes, plan.batch_size, wanted, overhead, widenable=widenable)
        return replace(other, min_feasible_budget_bytes=plan.min_feasible_budget_bytes)

    def tighter(self, plan: Plan, margin_bytes: int) -> Plan:
        """A plan of the same budget that keeps so many bytes free. Raises InfeasibleBudget where none can."""
        return self._replanner(plan).tighter(plan, margin_bytes)

    def _replanner(self, plan: Plan) -> Replanner:
        profile = self.profile_of(plan)
        return Replanner(profile, self.overhead(profile))

    def verify(self, plan: Plan) -> VerifiedPlan:
        """The plan after real steps of its model, with everything that outlives them; planned tighter where it missed,
        and for the next candidate where no plan of this one fits.

        A plan that came with the request is not planned again. Raises PlanMissed where it does not fit its budget,
        InfeasibleBudget where nothing that ran fits, StaleProfile for a plan of another model.
        """
        others = self.candidates
        while True:
            try:
                return self._verified(plan)
            except InfeasibleBudget as error:
                without_frames(error)  # which hold this candidate's model while the next one is loaded
                others = [other for other in others if not self._is_of(plan, other)]
                if not others or self.request.plan is not None:
                    raise
                plan = replace(self.plan(among=others), min_feasible_budget_bytes=plan.min_feasible_budget_bytes)

    def _is_of(self, plan: Plan, candidate: Candidate) -> bool:
        """Whether a plan is of this candidate, or of another one that comes to the same model and precision."""
        profile = self._profiles.known(candidate)
        return candidate == self.candidate_of(plan) or (profile is not None and profile.fingerprint == plan.fingerprint)

    def _verified(self, plan: Plan) -> VerifiedPlan:
        from s2a_core.verify import verify

        prepared = self.prepared_for(plan)
        return verify(
            prepared.model,
            self._with_run_parts(plan, prepared),
            *prepared.calibration(),
            replanner=None if self.request.plan is not None else self._replanner(plan),
            pairs=pairs_of(self.request),
        )

    def overhead(self, profile: Profile) -> Overhead:
        """What a run of this request takes beyond the steps of a profile's model."""
        path = pairs_of(self.request)
        errors = [] if path is None else [pair.error for pair in recorded(path) if pair.device == profile.device]
        optimizer = cast(Optimizer, self.request.optimizer or OPTIMIZERS[0])
        of_device = (profile.device_parts, profile.workspaces, profile.code_bytes)
        return overhead_of(profile.device, profile.state_bytes, self._has_average, errors, *of_device, optimizer)

    @property
    def _has_average(self) -> bool:
        return bool(self.request.ema_decay)

    @property
    def _batch_size(self) -> int:
        return BATCH_SIZE if self.request.batch_size is None else self.request.batch_size

    def _request_for(self, candidate: Candidate) -> RunRequest:
        adapter, precision, weights = candidate.adapter, candidate.precision, candidate.weight_format
        return replace(self.request, adapter=adapter, precision=precision, weight_format=weights)

    def candidate_of(self, plan: Plan) -> Candidate:
        """The candidate that a plan was made of; of a plan made elsewhere, what it says."""
        if plan.fingerprint in self._sources:
            return self._sources[plan.fingerprint]
        request = as_planned(self.request, plan)
        return Candidate(request.adapter, request.precision, request.weight_format, bool(plan.wide_weights))

    def _with_run_parts(self, plan: Plan, prepared: Prepared) -> Plan:
        """The plan with the copies that this request's run keeps, where it was made for a run without them.

        Raises InvalidInput where it leaves no room for them.
        """
        from s2a_core.adapters.apply import trained_state
        from s2a_core.train.mode import resting_modules

        resting_modules(prepared.model, plan.adapter)  # says which statistics training estimates
        state_bytes = sum(tensor.nbytes for tensor in trained_state(prepared.model).values())
        parts = dict(plan.predicted.breakdown)
        run = run_parts(plan.device, state_bytes, self._has_average)
        missing = {name: size for name, size in run.items() if name not in parts}
        peak = plan.predicted.peak_bytes + sum(missing.values())
        if plan.predicted.peak_bytes <= plan.budget_bytes < peak:
            words = " and ".join(f"{name} ({format_bytes(size)})" for name, size in missing.items())
            raise InvalidInput(
                f"the plan leaves no room for {words}, which this run keeps: it would take {format_bytes(peak)} of "
                f"{format_bytes(plan.budget_bytes)}: plan again with the options of this run",
                details={"missing": missing, "peak_bytes": peak, "budget_bytes": plan.budget_bytes},
            )
        return replace(plan, predicted=replace(plan.predicted, peak_bytes=peak, breakdown=parts | missing))

    def _of_data(self, profile: Profile) -> Profile:
        """The profile with how the task of the request's data was known, for its plans to say."""
        dataset = self.dataset if self.request.data is not None else None
        return profile if dataset is None else replace(profile, task_reason=dataset.report.task_reason)

    def _measure(self, candidate: Candidate, is_possible: Fits | None = None, is_wanted: Fits | None = None) -> Profile:
        """Raises InfeasibleBudget where the device's cap takes no profile: no less than weights and optimizer need."""
        from s2a_core.profiling.measure import profile_samples, profile_within

        prepared, least_bytes = self.prepared(candidate), 0

        def is_tried(of_weights: Profile) -> bool:
            nonlocal least_bytes
            least_bytes = self._smallest_of(of_weights)
            return is_possible is None or is_possible(of_weights)

        try:
            return profile_within(
                *(prepared.model, prepared.image_size, profile_samples(prepared.model), prepared.precision),
                prepared.calibration() if prepared.dataset is not None else None,
                name=prepared.name,
                adapter=str(prepared.spec),
                has_weights=prepared.has_weights,
                task=prepared.task.name,
                progress=self.on_event,
                is_possible=is_tried,
                is_wanted=is_wanted,
            )
        except InfeasibleBudget as refusal:
            raise refusal.at_least(least_bytes) from refusal
