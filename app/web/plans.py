"""Pages of plans: the form, the list, and one plan with its frontier, storage and memory over a step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from app.api.dependencies import Wired
from app.schemas.jobs import PlanRequest
from app.services.keys import Caller
from app.web import charts
from app.web.forms import ADAPTERS, DEFAULTS, OBJECTIVES, PLAN_INPUTS, read
from app.web.rendering import page
from app.web.visitors import OwnForm, PageRoute, SignedIn
from s2a_core.errors import S2AError
from s2a_core.planning import Plan
from s2a_core.planning.course import predicted_course
from s2a_core.profiling.types import Profile
from s2a_core.requests import PLANNED_FIELDS

router = APIRouter(include_in_schema=False, route_class=PageRoute)
REPEATED = tuple(name for name in PLANNED_FIELDS if name != "budget_bytes")


@dataclass(frozen=True)
class Group:
    """Modules of one shape with the same storages. cells: (site inside the module, storage)."""

    name: str
    count: int
    cells: tuple[tuple[str, str], ...]


@router.get("/plans")
def plans_page(
    request: Request, wired: Wired, visitor: SignedIn, budget: str = "", after: str | None = None
) -> Response:
    """The form and the plans made so far."""
    asked = {name: request.query_params[name] for name in REPEATED if name in request.query_params}
    values = {**DEFAULTS, **asked, **({"budget": budget} if budget else {})}
    return _form(request, wired, visitor.caller, values, {}, after=after)


@router.post("/plans")
def create_plan(request: Request, wired: Wired, visitor: SignedIn, fields: OwnForm) -> Response:
    """Ask for a plan and show it; the form again where something is wrong."""
    body, errors = read(PlanRequest, fields)
    if body is not None:
        try:
            plan = wired.plans.ask(visitor.caller, body.run_request(), body.budget_bytes)
            return RedirectResponse(f"/plans/{plan['id']}", 303)
        except S2AError as error:
            errors = {"budget" if error.code == "bad_budget" else "": error.message}
    return _form(request, wired, visitor.caller, {**DEFAULTS, **fields}, errors, status=422)


def _form(
    request: Request,
    wired: Any,
    caller: Caller,
    values: dict[str, str],
    errors: dict[str, str],
    *,
    after: str | None = None,
    status: int = 200,
) -> Response:
    listed = wired.plans.listed(caller, None, 20, after)
    return page(
        request,
        "plans.html",
        status,
        values=values,
        errors=errors,
        datasets=wired.datasets.listed(caller, "ready", 100, None)["items"],
        plans=listed["items"],
        next=listed["next"],
        adapters=ADAPTERS,
        objectives=OBJECTIVES,
        inputs=PLAN_INPUTS,
    )


@router.get("/plans/{plan_id}")
def plan_page(request: Request, wired: Wired, visitor: SignedIn, plan_id: str) -> Response:
    """One plan."""
    plan = wired.plans.get(visitor.caller, plan_id)
    made = plan["plan"]
    repeat = {name: plan["request"].get(name) for name in REPEATED if plan["request"].get(name) is not None}
    return page(
        request,
        "plan.html",
        plan=plan,
        made=made,
        repeat=repeat,
        timeline=_timeline(wired, plan) if made else Markup(""),
        groups=storage_groups(made["sites"]) if made else [],
        others=distinct(plan["alternatives"], made),
    )


def _timeline(wired: Any, plan: dict[str, Any]) -> Markup:
    """Memory over a step as the planner sees it; nothing where its profile is of another version."""
    made = plan["plan"]
    if not plan["profile"]:
        return Markup("")
    try:
        profile = Profile.from_json(wired.plans.profile(plan["profile"])["profile"])
        course = predicted_course(profile, Plan.from_json(made))
    except (S2AError, KeyError, TypeError, ValueError):
        return Markup("")
    return charts.predicted_timeline(course, plan["budget_bytes"])


def distinct(alternatives: list[dict[str, Any]], made: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Alternatives that differ from the plan and from one another, by what people would notice."""

    def mark(row: dict[str, Any]) -> tuple[float, ...]:
        return (row["peak_bytes"], round(row["gradient_error"], 6), round(row["relative_step_time"], 3))

    seen = {mark(made["predicted"])} if made else set()
    distinct_rows = []
    for row in sorted(alternatives, key=lambda row: row["budget_bytes"]):
        if mark(row) not in seen:
            seen.add(mark(row))
            distinct_rows.append(row)
    return distinct_rows


def storage_groups(sites: list[dict[str, Any]]) -> list[Group]:
    """Sites by module in forward order; neighbours with the same storages become one group."""
    shown = [(str(s["name"]), str(s["storage"])) for s in sites]
    modules: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    for module, members in groupby(shown, key=lambda site: _module(site[0])):
        cells = tuple((name.removeprefix(module).lstrip(".:") or name, storage) for name, storage in members)
        used = tuple(cell for cell in cells if not (cell[1] == "none" and cell[0].endswith(("block", "region"))))
        modules.append((module, used or cells[:1]))
    groups: list[Group] = []
    for module, cells in modules:
        if groups and groups[-1].cells == cells:
            first = groups[-1].name.split(" – ")[0]
            groups[-1] = Group(f"{first} – {module.rsplit('.', 1)[-1]}", groups[-1].count + 1, cells)
        else:
            groups.append(Group(module, 1, cells))
    return groups


def _module(name: str) -> str:
    """`blocks.3` of `blocks.3.mlp:gelu`: up to the last number of its path, else its first word."""
    parts = name.partition(":")[0].split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else parts[0] or "loss"
