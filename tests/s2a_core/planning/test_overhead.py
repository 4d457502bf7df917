"""What a device takes beside tensors follows from the budget that its process was started with."""

from __future__ import annotations

import pytest

from s2a_core.planning.overhead import DeviceOverhead, Overhead

MIB = 2**20
GIB = 2**30
PARTS = {"context": 426 * MIB, "workspaces": 64 * MIB, "code": 8 * MIB}
WORKSPACES = ((0, MIB // 4), (GIB, 16 * MIB), (8 * GIB, 64 * MIB))


@pytest.mark.parametrize(("budget_bytes", "expected"), [(600 * MIB, MIB // 4), (GIB, 16 * MIB), (9 * GIB, 64 * MIB)])
def test_a_plan_counts_the_workspaces_of_its_own_budget(budget_bytes: int, expected: int) -> None:
    overhead = DeviceOverhead(PARTS, workspaces=WORKSPACES).within(budget_bytes)
    assert overhead.parts == {**PARTS, "workspaces": expected}


@pytest.mark.parametrize("alive", [20 * MIB, 500 * MIB, 3 * GIB])
def test_the_smallest_budget_is_the_same_wherever_it_is_asked(alive: int) -> None:
    """A process of another budget has other workspaces; the smallest budget has its own."""
    roomy = DeviceOverhead(PARTS, workspaces=WORKSPACES)
    tight = DeviceOverhead({**PARTS, "workspaces": MIB // 4}, workspaces=WORKSPACES)
    outside = [sum(overhead.parts.values()) for overhead in (roomy, tight)]
    smallest = roomy.smallest_budget(outside[0], alive)
    assert smallest == tight.smallest_budget(outside[1], alive)
    inside = roomy.within(smallest)
    assert isinstance(inside, DeviceOverhead)
    assert inside.total(sum(inside.parts.values()), alive) < smallest


def test_workspaces_that_the_user_set_are_those_of_every_budget() -> None:
    overhead = DeviceOverhead(PARTS, workspaces=((0, 3 * MIB),))
    assert overhead.within(100 * MIB).parts["workspaces"] == overhead.within(9 * GIB).parts["workspaces"] == 3 * MIB


def test_without_a_device_a_budget_changes_nothing() -> None:
    overhead = Overhead({"average": 700}, margin_bytes=11)
    assert overhead.within(10) is overhead
    assert overhead.smallest_budget(1000, 1000) == pytest.approx(1.015 * 2010, abs=20)


def test_a_smallest_budget_that_another_process_measured_is_accepted_on_a_device_and_two_percent_less_is_not() -> None:
    device, cpu = DeviceOverhead(PARTS), Overhead()
    assert [device.is_accepted(size, 1000) for size in (1000, 991, 980)] == [True, True, False]
    assert [cpu.is_accepted(size, 1000) for size in (1000, 999)] == [True, False]
    assert device.with_margin(5).is_accepted(980, 1000)  # a plan that missed is planned again in the same budget


@pytest.mark.parametrize("moving", [0, 20 * MIB, 500 * MIB, 30 * GIB])
def test_what_is_expected_is_less_than_what_a_budget_must_have(moving: int) -> None:
    """A small model's code and holes are far below the most, which a plan has to leave room for all the same."""
    overhead = DeviceOverhead.of(PARTS, 3 * MIB)
    always = sum(overhead.parts.values())
    assert overhead.parts["code"] == 3 * MIB
    expected, needed = overhead.total(always, moving), overhead.needed(always, moving)
    assert always + moving + 7 * MIB <= expected
    assert expected + 7 * MIB <= needed
    assert overhead.room(always, needed) == moving
    assert overhead.needed(always, moving + 1) > needed


@pytest.mark.parametrize("code_bytes", [0, 3 * MIB, 8 * MIB, 50 * MIB, None])
def test_budgets_do_not_depend_on_the_code_that_a_process_has_loaded(code_bytes: int | None) -> None:
    most, other = DeviceOverhead.of(PARTS, None), DeviceOverhead.of(PARTS, code_bytes)
    alive = 100 * MIB
    always = [sum(overhead.parts.values()) for overhead in (most, other)]
    assert most.smallest_budget(always[0], alive) == other.smallest_budget(always[1], alive)
    assert most.needed(always[0], alive) == other.needed(always[1], alive)


def test_errors_of_earlier_plans_raise_what_is_expected_and_a_budget_at_most_to_that() -> None:
    plain, wary = DeviceOverhead.of(PARTS, 0), DeviceOverhead(DeviceOverhead.of(PARTS, 0).parts, error_share=0.5)
    always = sum(plain.parts.values())
    assert wary.total(always, 100 * MIB) > plain.needed(always, 100 * MIB)
    assert wary.needed(always, 100 * MIB) == wary.total(always, 100 * MIB)
