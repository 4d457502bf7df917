"""With --json stdout holds one document and nothing else."""

import io
import json

from app.cli.terminal import Terminal


def test_stdout_holds_one_document() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(True, out, err)
    terminal.say("hello")
    terminal.note("progress")
    terminal.document({"a": 1})
    terminal.document({"b": 2})
    assert json.loads(out.getvalue()) == {"a": 1}
    assert "progress" in err.getvalue()


def test_a_line_is_not_broken_so_that_its_path_can_be_copied() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(False, out, err)
    line = "written to /" + "/".join(["a folder"] * 40)
    terminal.say(line)
    terminal.note(line)
    assert (out.getvalue(), err.getvalue()) == (line + "\n", line + "\n")
