"""Runs side by side: what differs is named, curves lie on one chart, searches and orders do what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from s2a_core.outputs.comparison import (
    COLOURS,
    CURVES,
    ORDERS,
    Run,
    comparison_page,
    curves_of,
    differing,
    matches,
    overlaid,
    run_of,
    setting_words,
)

MIB = 2**20


def run(name: str, lr: float, accuracy: float, **report: Any) -> Run:
    history = [{"epoch": e, "val_accuracy": accuracy * e / 2, "val_loss": 1 / e, "train_loss": 2 / e} for e in (1, 2)]
    asked = {"model": "s2a_tiny", "data": "digits", "lr": lr, "adapter": "auto", "epochs": 5, "budget_bytes": 12 * MIB}
    made = {"accuracy": accuracy, "history": history, "step_losses": [2.0, 1.0], "epochs": 2, "wall_s": 3.0 / lr}
    made |= {"adapter": {"kinds": ["bias"]}, "measured_peak_bytes": int(accuracy * 10 * MIB)}
    return run_of(name, "finished", {}, {**made, "request": asked, "created_at": "2026-01-02T03:04:05+00:00", **report})


def test_what_differs_is_named_with_the_defaults_of_what_nobody_said() -> None:
    runs = [run("a", 0.1, 0.8), run("b", 0.2, 0.9), run_of("c", "queued", {"model": "s2a_tiny", "mixup": 0.2}, {})]
    rows = differing(runs)
    assert rows["lr"] == [0.1, 0.2, None]
    assert rows["mixup"] == [0.0, 0.0, 0.2]
    assert not {"model", "adapter", "epochs", "weight_format"} & set(rows), "what no plan has settled is no difference"
    assert differing([*runs, run("d", 0.1, 0.8, adapter={"kinds": ["norm"]})])["adapter"] == [
        "bias",
        "bias",
        None,
        "norm",
    ]
    assert differing(runs[:1] * 2) == {}
    assert [setting_words(*pair) for pair in (("budget", 3 * MIB), ("lr", 0.1234567), ("lr", None))] == [
        "3.0 MiB",
        "0.1235",
        "–",
    ]


def test_the_report_wins_over_what_was_asked_for() -> None:
    found = run("a", 0.1, 0.8)
    assert (found.settings["epochs"], found.settings["adapter"], found.budget_bytes) == (2, "bias", None)
    assert found.at == 1767323045.0
    assert run_of("b", "queued", {"budget_bytes": 5}, {}).budget_bytes == 5


def test_curves_of_all_runs_lie_on_one_chart_and_the_page_is_whole() -> None:
    runs = [run(f"run <{i}>", 0.1 * (i + 1), 0.5) for i in range(len(COLOURS) + 2)]
    for curve in CURVES:
        drawn = ElementTree.fromstring(f"<x>{overlaid(runs[:3], curve)}</x>")
        for svg in drawn.findall("svg"):
            assert [path.get("class") for path in svg.findall("path")] == [f"line {css}" for css in COLOURS[:3]]
    page = comparison_page(runs)
    assert "Drawn: the first 8 of 10" in page
    assert "run &lt;3&gt;" in page
    assert "<td>lr</td>" in page
    assert "http" not in page
    assert curves_of([{"epoch": 1, "val_loss": None}], []) == {}


def test_words_are_searched_in_names_and_settings_and_lists_are_put_in_order() -> None:
    runs = [run("slow", 0.1, 0.9), run("good", 0.2, 0.95), run_of("waits", "queued", {"model": "resnet18"}, {})]
    assert [r.name for r in runs if matches(r, "S2A_tiny lr=0.2")] == ["good"]
    assert [r.name for r in runs if matches(r, "queued resnet")] == ["waits"]
    orders = {name: [r.name for r in sorted(runs, key=key)] for name, key in ORDERS.items()}
    assert orders["accuracy"] == ["good", "slow", "waits"]
    assert orders["peak"] == ["slow", "good", "waits"]
    assert orders["seconds"] == ["good", "slow", "waits"]
    assert orders["name"] == ["good", "slow", "waits"]
    assert orders["model"][0] == "waits"
    assert "curves" not in runs[0].to_json()
