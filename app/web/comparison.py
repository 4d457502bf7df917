"""The page of jobs side by side, and the order of lists of jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from app.api.dependencies import Wired
from app.services.keys import Caller
from app.web.formats import size
from app.web.rendering import page
from app.web.reports import full_report
from app.web.visitors import PageRoute, SignedIn
from s2a_core.outputs.comparison import (
    COLOURS,
    MOST_OVERLAID,
    ORDERS,
    Run,
    curves_of,
    differing,
    drawn_curves,
    overlaid,
    run_of,
    setting_words,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SORTED = 200  # jobs that are put in another order than the newest first
ORDER_WORDS = {
    "date": "newest",
    "accuracy": "accuracy",
    "peak": "peak memory",
    "seconds": "time taken",
    "budget": "budget",
    "model": "model",
}


@router.get("/jobs/compare")
def comparison_page(
    request: Request, wired: Wired, visitor: SignedIn, job: Annotated[list[str] | None, Query()] = None
) -> Response:
    """The jobs that were chosen: figures, curves overlaid, and the parameters that differ."""
    chosen = list(dict.fromkeys(job or ()))[:MOST_OVERLAID]
    jobs = [wired.jobs.get(visitor.caller, job_id) for job_id in chosen]
    runs = [_with_curves(wired, visitor.caller, one) for one in jobs]
    return page(
        request,
        "comparison.html",
        jobs=jobs,
        runs=runs,
        colours=COLOURS,
        charts_of_runs=[(curve.name, Markup(overlaid(runs, curve, 260))) for curve in drawn_curves(runs)],
        differences={name: [_words(name, value) for value in each] for name, each in differing(runs).items()},
        most=MOST_OVERLAID,
    )


def sorted_jobs(jobs: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Jobs in an order of ORDERS."""
    runs = [(as_run(job, job.get("report") or {}), job) for job in jobs]
    return [job for _, job in sorted(runs, key=lambda pair: ORDERS[order](pair[0]))]


def as_run(job: dict[str, Any], report: dict[str, Any]) -> Run:
    """A job among others. Its name is unique: people give the same one twice."""
    name = f"{job['name'] or job['request']['model']} {job['id'][-4:]}"
    run = run_of(name, job["status"], {**job["request"], "budget_bytes": job["budget_bytes"]}, report)
    seconds = (
        (job["ended_at"] or 0) - (job["started_at"] or 0) if job["ended_at"] and job["started_at"] else run.seconds
    )
    planned = run.predicted_peak_bytes or job["planned_peak_bytes"]
    return Run(**{**vars(run), "at": job["created_at"], "seconds": seconds, "predicted_peak_bytes": planned})


def _with_curves(wired: Any, caller: Caller, job: dict[str, Any]) -> Run:
    report = full_report(wired, caller, job)
    run = as_run(job, report)
    if run.curves:
        return run
    metrics = wired.results.metrics(caller, job["id"], "step.loss", -1, 10_000)  # it still trains
    losses = [point["value"] for point in metrics["series"].get("step.loss", ())]
    return Run(**{**vars(run), "curves": curves_of(metrics["items"], losses)})


def _words(name: str, value: Any) -> str:
    return size(value) if name == "budget" else setting_words(name, value)
