"""The table of large models shows what is beyond the context and what was not run."""

from __future__ import annotations

from benchmarks import large

MIB = 2**20


def test_a_case_is_a_row_and_what_was_not_run_is_said() -> None:
    ran = {"case": "7B", "contestant": "LoRA", "held_bytes": 13_450 * MIB, "context_bytes": 450 * MIB}
    rows = [{**ran, "weights_bytes": 12_810 * MIB}, {"case": "7B", "contestant": large.CHECKPOINTED, "error": "no"}]
    lines = large.markdown(rows).splitlines()
    assert lines[0].startswith("| | LoRA | LoRA + checkpointing | s2a, float weights |")
    assert lines[2] == "| 7B, 224 px, batch 1 | 13,000 (12,810) | no | not run | not run | not run |"
    assert len(lines) == 3


def test_the_last_line_of_what_failed_is_its_error() -> None:
    assert large._last_line('Traceback\nOutOfMemoryError: 2 GiB\n{"peak_bytes": 3}\n') == "OutOfMemoryError: 2 GiB"
    assert large._last_line("") == "failed"


def test_models_whose_weights_are_all_trained_have_a_table_of_their_own() -> None:
    ran = {"contestant": large.IN_BACKWARD, "held_bytes": 4_450 * MIB, "context_bytes": 450 * MIB}
    rows = [{"case": "7B", "contestant": "LoRA", "error": "no"}]
    rows += [{"case": "ViT-H, all weights", **ran, "weights_bytes": 2_407 * MIB}]
    adapters, full = large.markdown(rows).split("\n\n")
    assert len(adapters.splitlines()) == len(full.splitlines()) == 3
    assert full.splitlines()[0].endswith(f"| s2a, adamw8bit | {large.IN_BACKWARD} | {large.IN_BF16} |")
    assert full.splitlines()[2].endswith("| not run | 4,000 (2,407) | not run |")
