"""With --json stdout holds one document and nothing else."""

import io
import json
import subprocess
import sys

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


def test_what_a_library_in_c_prints_is_not_in_the_document() -> None:
    script = """
import ctypes
from app.cli.terminal import Terminal
terminal = Terminal(True)
with terminal.quiet_stdout():
    ctypes.CDLL(None).puts(b"from C")
    print("from Python")
    terminal.document({"ä": 1})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"ä": 1}
    assert sorted(done.stderr.split("\n")) == ["", "from C", "from Python"]
