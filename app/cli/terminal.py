"""The one place where the command line writes: text for people, or exactly one JSON document on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.theme import Theme

_THEME = Theme(
    {
        "good": "green",
        "bad": "bold red",
        "warn": "yellow",
        "quiet": "dim",
        "name": "bold cyan",
        "number": "bold",
        "repr.number": "none",
    }
)
LOADING = "loading PyTorch and timm"  # the first words of a command that needs them: it takes seconds
STDOUT, STDERR = 1, 2  # descriptors
_PLAIN_WIDTH = 120  # columns where the output is a file or a pipe


class Terminal:
    """Where a command writes. is_json: stdout holds one document and nothing else; people's text is left out.

    Lines are not broken, so that a path or a command in them can be copied.
    """

    def __init__(self, is_json: bool, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.is_json = is_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self.out = _console(self._stdout)
        self.err = _console(self._stderr)
        self._has_document = False

    def say(self, *lines: RenderableType) -> None:
        """Text for a person on stdout; nothing with --json, where the document says it."""
        if not self.is_json:
            for line in lines:
                self.out.print(line, soft_wrap=isinstance(line, str))

    def note(self, *lines: RenderableType) -> None:
        """Progress, warnings and remarks, on stderr."""
        for line in lines:
            self.err.print(line, soft_wrap=isinstance(line, str))

    @contextlib.contextmanager
    def busy(self, words: str) -> Iterator[None]:
        """Say at once what takes time from here on; on a terminal with a clock that runs until it is done."""
        if not self.err.is_terminal:
            self.note(words)
            yield
            return
        columns = (TextColumn("[quiet]{task.description}"), SpinnerColumn("line"), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as clock:
            clock.add_task(words, total=None)
            yield

    def document(self, document: Mapping[str, Any]) -> None:
        """The answer of a command as JSON on stdout; nothing without --json. A second document is not written."""
        if self.is_json and not self._has_document:
            self._has_document = True
            self._stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
            self._stdout.flush()

    def first(self, items: Iterable[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
        """At most `limit` items, with a remark where there are more."""
        listed = list(islice(items, limit + 1))
        if len(listed) > limit:
            self.note(f"these are the newest {limit}: --limit {10 * limit} shows more")
        return listed[:limit]

    def text(self, text: str) -> None:
        """Plain text on stdout as it is, for CSV and the like."""
        self._stdout.write(text)
        self._stdout.flush()

    @contextlib.contextmanager
    def quiet_stdout(self) -> Iterator[None]:
        """What libraries print goes to stderr while a document is due on stdout."""
        if not self.is_json:
            yield
            return
        self._leave_descriptor()
        with contextlib.redirect_stdout(self._stderr):
            yield

    def _leave_descriptor(self) -> None:
        """Libraries in C print on descriptor 1, past sys.stdout: the document has one of its own, 1 leads to stderr.

        HiGHS 1.12 prints a line of its own whatever it is told (ERGO-Code/HiGHS, issue 2783).
        """
        with contextlib.suppress(OSError, ValueError):  # not a file, as in a notebook, or closed
            if self._stdout.fileno() == STDOUT:
                own = self._stdout
                self._stdout = os.fdopen(os.dup(STDOUT), "w", encoding=own.encoding, errors=own.errors)
                os.dup2(STDERR, STDOUT)


def _console(file: TextIO) -> Console:
    is_terminal = file.isatty()
    return Console(
        file=file, theme=_THEME, highlight=False, soft_wrap=False, width=None if is_terminal else _PLAIN_WIDTH
    )
