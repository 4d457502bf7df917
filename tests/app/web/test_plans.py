"""Pages of plans: ask by form, read what fits or why nothing does."""

from __future__ import annotations

import re
from typing import Any

from fastapi.testclient import TestClient

from app.models import Plan
from app.web.plans import distinct, storage_groups
from tests.app.web.conftest import PLAN, Send

FIELDS = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
OTHER = {"name": "budget 128 MiB", "objective": "accuracy", "budget_bytes": 2**27, "peak_bytes": 2**26}
OTHER |= {"gradient_error": 0.01, "relative_step_time": 1.0, "summary": "44 MiB more memory"}


def finish(pages: TestClient, plan_id: str, **values: Any) -> None:
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        plan = session.get(Plan, plan_id)
        for name, value in values.items():
            setattr(plan, name, value)


def test_a_plan_waits_and_then_shows_the_memory_and_what_more_would_buy(pages: TestClient, send: Send) -> None:
    asked = send("/plans", **FIELDS)
    plan_id = asked.url.path.rsplit("/", 1)[1]
    assert "Waiting for a worker" in asked.text
    assert "data-refresh" in asked.text
    made = {**PLAN, "measured_gradient_error": 0.0312}
    finish(pages, plan_id, status="ready", reason=None, document={"plan": made, "alternatives": [OTHER]})
    text = pages.get(f"/plans/{plan_id}").text
    assert "It fits" in text
    assert "measured 3.1 %</dd>" in text
    assert "44 MiB to spare" in text
    assert "44 MiB more memory" in text
    assert "What would more memory buy?" in text
    assert f"/jobs/new?plan={plan_id}" in text
    assert "data-refresh" not in text
    assert plan_id in pages.get("/plans").text
    job = send("/jobs", plan=plan_id, epochs="1")
    assert job.url.path.startswith("/jobs/job_")


def test_an_impossible_budget_says_why_and_offers_the_smallest_that_fits(pages: TestClient, send: Send) -> None:
    plan_id = send("/plans", **{**FIELDS, "budget": "1MiB"}).url.path.rsplit("/", 1)[1]
    details = {"min_feasible_budget_bytes": 3 * 2**20, "binding": "weights", "binding_bytes": 2 * 2**20}
    reason = {"code": "infeasible_budget", "message": "nothing fits 1.0 MiB", "details": details}
    finish(pages, plan_id, status="infeasible", reason=reason, document={"plan": None, "alternatives": [OTHER]})
    text = pages.get(f"/plans/{plan_id}").text
    assert "Nothing fits this budget" in text
    assert "largest part: weights" in text
    assert "Plan again with 3 MiB" in text


def test_what_is_wrong_stands_beside_its_field(send: Send) -> None:
    answer = send("/plans", **{**FIELDS, "budget": "0"})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text


def test_sites_are_grouped_by_module_and_equal_neighbours_joined() -> None:
    sites = [{"name": "patch_embed.proj:conv", "storage": "exact"}]
    sites += [{"name": f"blocks.{i}.mlp.act:gelu", "storage": "b2"} for i in range(3)]
    sites += [{"name": "blocks.3:block", "storage": "recompute"}, {"name": "head:linear", "storage": "b4"}]
    groups = storage_groups(sites)
    assert [(g.name, g.count) for g in groups] == [
        ("patch_embed", 1),
        ("blocks.0 – 2", 3),
        ("blocks.3", 1),
        ("head", 1),
    ]
    assert groups[1].cells == (("mlp.act:gelu", "b2"),)


def test_alternatives_that_are_the_plan_itself_are_left_out() -> None:
    same = {**OTHER, **{k: PLAN["predicted"][k] for k in ("peak_bytes", "gradient_error", "relative_step_time")}}  # type: ignore[index]
    assert distinct([OTHER, same, OTHER], PLAN) == [OTHER]


def test_plans_that_the_page_leaves_out_are_a_page_further(pages: TestClient, send: Send) -> None:
    first = send("/plans", **FIELDS).url.path
    for _ in range(20):
        send("/plans", **FIELDS)
    text = pages.get("/plans").text
    assert first not in text
    (older,) = re.findall(r'href="(/plans\?after=[^"]+)">Older plans', text)
    assert first in pages.get(older).text
    assert "Older plans" not in pages.get(older).text
