"""From errors to exit codes: 0 done, 2 bad input, 3 infeasible budget, 4 the job failed, 1 our bug, 130 interrupted."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from app.cli.terminal import Terminal
from app.libraries import quiet_libraries

BUG = 1
BAD_INPUT = 2
INTERRUPTED = 130


class Shell(TyperGroup):
    """The group of commands. Errors of parsing and of running end here, as text or, with --json, as one document.

    The Terminal of the run is the context's `obj`.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command line and exit with its code."""
        words = list(sys.argv[1:] if args is None else args)
        if words[:1] == ["--json"]:  # the command's option, said before it
            words = [*words[1:], "--json"]
        terminal = Terminal("--json" in words)
        quiet_libraries()
        try:
            with terminal.quiet_stdout():
                result = super().main(
                    words, prog_name or "s2a", complete_var, False, windows_expand_args, **{**extra, "obj": terminal}
                )
            code = result if isinstance(result, int) else 0
        except (SystemExit, KeyboardInterrupt) as stop:
            code = INTERRUPTED if isinstance(stop, KeyboardInterrupt) else _code(stop)
        except BrokenPipeError:
            sys.stderr.close()
            code = 0
        except Exception as error:  # the command's boundary: whatever it is, the user gets one line and a code
            code = report(error, terminal)
        if code == INTERRUPTED:
            terminal.note("[warn]interrupted[/]")
        if standalone_mode:
            sys.exit(code)
        return code


def report(error: Exception, terminal: Terminal) -> int:
    """Tell the user about an error; the exit code it means."""
    described = describe(error)
    details = described["details"]
    terminal.document({"error": described})
    if described["exit_code"] == BUG:
        path = _save_traceback(error)
        terminal.note(
            f"[bad]internal error[/] {escape(described['message'])}",
            f"This is a bug in s2a. The traceback is in {path}",
        )
        return BUG
    problems = details.get("problems", [])
    if len(problems) > 1:
        terminal.note(f"[bad]error[/] {escape(str(details.get('source', '')))}: {len(problems)} problems")
        terminal.note(*(f"  [warn]•[/] {escape(problem)}" for problem in problems[:200]))
        if len(problems) > 200:
            terminal.note(f"  and {len(problems) - 200} more (--json lists all)")
    elif described["message"]:  # empty where the help was shown instead of a command that was not given
        terminal.note(f"[bad]error[/] {escape(described['message'])}")
    if "usage" in details and described["message"]:
        terminal.note(f"[quiet]{escape(details['usage'])}[/]")
    return int(described["exit_code"])


def describe(error: Exception) -> dict[str, Any]:
    """An error as {"code", "message", "exit_code", "details"}.

    Errors of the tree in s2a_core/errors.py carry these themselves; errors of parsing are bad input; others are bugs.
    """
    if hasattr(error, "exit_code") and hasattr(error, "details"):
        return {
            "code": getattr(error, "code", "error"),
            "message": str(error),
            "exit_code": error.exit_code,
            "details": dict(error.details),
        }
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        hint = {"usage": context.get_usage().strip()} if context is not None else {}
        return {"code": "usage", "message": error.format_message(), "exit_code": BAD_INPUT, "details": hint}
    if isinstance(error, OSError) and error.filename:
        what = "is a file, not a directory" if isinstance(error, FileExistsError) else str(error.strerror).lower()
        message = f"{error.filename}: {what}"
        return {"code": "file", "message": message, "exit_code": BAD_INPUT, "details": {"path": str(error.filename)}}
    if isinstance(error, typer.Abort):
        return {"code": "aborted", "message": "aborted", "exit_code": BAD_INPUT, "details": {}}
    return {
        "code": "internal_error",
        "message": f"{type(error).__name__}: {error}",
        "exit_code": BUG,
        "details": {"type": type(error).__name__},
    }


def _save_traceback(error: Exception) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="s2a-error-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return Path(file.name)


def _code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    return stop.code if isinstance(stop.code, int) else BUG
