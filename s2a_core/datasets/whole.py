"""Directories of a cache that are there with everything in them, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(final: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `final` at the end unless another process was first; on an error it goes."""
    final.parent.mkdir(parents=True, exist_ok=True)
    target = Path(tempfile.mkdtemp(prefix=f"{final.name}.", dir=final.parent))
    try:
        yield target
        try:
            target.rename(final)
        except OSError:  # another process was first
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(target, ignore_errors=True)
