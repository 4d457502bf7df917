"""Pages of jobs: the list, the form, and one job with its curves, memory, events and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import Wired
from app.errors import NotFound
from app.schemas.jobs import JobRequest
from app.services.keys import Caller
from app.web.again import again, prefilled
from app.web.comparison import ORDER_WORDS, SORTED, sorted_jobs
from app.web.forms import ADAPTERS, DEFAULTS, EPOCHS, JOB_INPUTS, OBJECTIVES, RECIPE_INPUTS, read
from app.web.rendering import page
from app.web.reports import document_of, full_report
from app.web.visitors import OwnForm, PageRoute, SignedIn
from s2a_core.errors import S2AError
from s2a_core.outputs.class_figures import class_figures
from s2a_core.tasks import METRICS
from s2a_core.tasks.task import Metric

router = APIRouter(include_in_schema=False, route_class=PageRoute)
STATUSES = ("queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed")
NEWEST_EVENTS = 60
LOSSES = {"step.loss": ("training loss", "c1"), "epoch.val_loss": ("validation loss", "c2")}
MEMORY = {"step.peak_bytes": ("peak so far", "c1")}


@router.get("/jobs")
def jobs_page(
    request: Request,
    wired: Wired,
    visitor: SignedIn,
    status: str | None = None,
    after: str | None = None,
    q: str = "",
    sort: str = "date",
) -> Response:
    """Jobs, newest first or in another order, to search and to choose from for the page that compares them."""
    wanted, order = status if status in STATUSES else None, sort if sort in ORDER_WORDS else "date"
    listed = wired.jobs.listed(visitor.caller, wanted, 30 if order == "date" else SORTED, after, q[:200])
    jobs = listed["items"] if order == "date" else sorted_jobs(listed["items"], order)
    return page(
        request,
        "jobs.html",
        jobs=jobs,
        next=listed["next"],
        chosen=wanted,
        words=q[:200],
        order=order,
        orders=ORDER_WORDS,
    )


@router.get("/jobs/new")
def new_job_page(
    request: Request, wired: Wired, visitor: SignedIn, plan: str = "", data: str = "", weights: str = "", like: str = ""
) -> Response:
    """The form; with a plan, only what the plan leaves open. like: a job whose values it begins with."""
    values = DEFAULTS | {name: text for name, text in (("data", data), ("weights", weights)) if text}
    if like:
        values |= prefilled(wired.jobs.get(visitor.caller, like))
    return job_form(request, wired, visitor.caller, values, {}, plan_id=plan)


@router.post("/jobs")
def create_job(request: Request, wired: Wired, visitor: SignedIn, fields: OwnForm) -> Response:
    """Queue a job and show it; the form again where something is wrong."""
    body, errors = read(JobRequest, fields)
    if body is not None:
        try:
            job = wired.jobs.submit(
                visitor.caller, body.run_request(), body.budget_bytes, body.priority, name=body.name, plan_id=body.plan
            )
            return RedirectResponse(f"/jobs/{job['id']}", 303)
        except S2AError as error:
            errors = {"budget" if error.code == "bad_budget" else "": error.message}
    values = {**DEFAULTS, **fields}
    return job_form(request, wired, visitor.caller, values, errors, plan_id=fields.get("plan", ""), status=422)


def job_form(
    request: Request,
    wired: Wired,
    caller: Caller,
    values: dict[str, str],
    errors: dict[str, str],
    *,
    plan_id: str = "",
    status: int = 200,
) -> Response:
    """The form with what was typed in and what is wrong with it."""
    ready = wired.datasets.listed(caller, "ready", 100, None)["items"]
    plan = wired.plans.get(caller, plan_id) if plan_id else None
    return page(
        request,
        "submit.html",
        status,
        values=values,
        errors=errors,
        datasets=ready,
        plan=plan,
        adapters=ADAPTERS,
        objectives=OBJECTIVES,
        epochs=EPOCHS,
        inputs=RECIPE_INPUTS if plan else JOB_INPUTS,
    )


@router.get("/jobs/{job_id}")
def job_page(request: Request, wired: Wired, visitor: SignedIn, job_id: str) -> Response:
    """One job, live."""
    job = wired.jobs.get(visitor.caller, job_id)
    said = wired.jobs.newest_events(visitor.caller, job_id, NEWEST_EVENTS)
    metrics = wired.results.metrics(visitor.caller, job_id, None, -1, 10_000)
    report = full_report(wired, visitor.caller, job)
    is_over = job["status"] in ("succeeded", "failed", "cancelled")
    return page(
        request,
        "job.html",
        job=job,
        plan=(said["plan"] or {}).get("plan"),
        report=report,
        series=metrics["series"],
        epochs=metrics["items"],
        step=said["step"],
        last_seq=said["last_seq"],
        events=said["events"],
        artifacts=wired.results.artifacts(visitor.caller, job_id)["items"],
        attempts=wired.results.attempts(visitor.caller, job_id)["items"],
        curve_names={"loss": LOSSES},
        quality_curves=quality_curves(metrics["series"]),
        epoch_metrics=epoch_metrics,
        doing=doing(said["events"]),
        again=again(job) if is_over else None,
        log=wired.results.log(visitor.caller, job_id) if job["attempts"] else "",
        examples=document_of(wired, visitor.caller, job_id, "examples.json") or {},
        classes=class_figures(report),
    )


def quality_curves(series: Mapping[str, Any]) -> list[tuple[Metric, dict[str, tuple[str, str]]]]:
    """Each metric of which a job has values, with its series; accuracy before there are any."""
    known = [
        (
            metric,
            {
                f"step.{name}": (f"training {metric.words}", "c1"),
                f"epoch.val_{name}": (f"validation {metric.words}", "c3"),
            },
        )
        for name, metric in METRICS.items()
    ]
    return [(metric, names) for metric, names in known if any(map(series.get, names))] or known[:1]


def epoch_metrics(event: Mapping[str, Any]) -> list[tuple[Metric, float]]:
    """The validation metrics of an epoch's event."""
    pairs = [(metric, event.get(f"val_{name}")) for name, metric in METRICS.items()]
    return [(metric, float(value)) for metric, value in pairs if isinstance(value, int | float)]


def doing(events: list[dict[str, Any]]) -> str:
    """What the newest events say of the phase under way: a stage, or how much of it is done. Newest first."""
    for event in events:
        if event["type"] == "stage":
            return str(event.get("message", ""))
        if event["type"] == "progress":
            return f"{event.get('done')} of {event.get('total')}"
        if event["type"] == "phase":
            break
    return ""


@router.post("/jobs/{job_id}/{action}")
def change_job(wired: Wired, visitor: SignedIn, job_id: str, action: str, fields: OwnForm) -> Response:
    """Cancel, pause or resume."""
    acts = {"cancel": wired.jobs.cancel, "pause": wired.jobs.pause, "resume": wired.jobs.resume}
    if action not in acts:
        raise NotFound(f"a job cannot {action[:40]}: cancel, pause or resume")
    acts[action](visitor.caller, job_id)
    return RedirectResponse(f"/jobs/{job_id}", 303)
