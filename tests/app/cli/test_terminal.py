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
