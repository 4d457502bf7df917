"""The report says what ran and how to repeat it."""

from s2a_core.outputs.record import command_line


def test_the_command_line_repeats_the_run() -> None:
    request = {"model": "m", "data": "digits", "budget_bytes": 5, "seed": 3, "output": "out"}
    assert command_line(request) == "s2a train m --data digits --budget 5 --weights none --seed 3 --output out"
    assert command_line({}) is None
