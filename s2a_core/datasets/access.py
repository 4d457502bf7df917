"""What a process may read of its machine and fetch from hubs, where somebody else than its owner names the data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DataAccess:
    """roots: directories and files, their links followed, that may be read; None for all. cache: where archives and
    downloads are unpacked. uses_hub_token: whether Hugging Face is told this machine's token."""

    roots: tuple[Path, ...] | None = None
    cache: Path | None = None
    uses_hub_token: bool = True

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DataAccess:
        """From {roots, cache, uses_hub_token}."""
        roots = tuple(map(Path, document["roots"]))
        return cls(roots, Path(document["cache"]), bool(document["uses_hub_token"]))

    @property
    def is_limited(self) -> bool:
        """Whether some of the machine must not be read."""
        return self.roots is not None

    def allows(self, path: str | Path) -> bool:
        """Whether what a path leads to, through every link, may be read."""
        if self.roots is None:
            return True
        target = Path(os.path.realpath(path))
        return any(target.is_relative_to(root) for root in self.roots)


_ACCESS: ContextVar[DataAccess] = ContextVar("s2a_data_access")


def data_access() -> DataAccess:
    """What holds here; everything where nothing was said."""
    return _ACCESS.get(DataAccess())


@contextmanager
def limited_to(access: DataAccess) -> Iterator[None]:
    """Within the block, data is opened under these rules."""
    token = _ACCESS.set(access)
    try:
        yield
    finally:
        _ACCESS.reset(token)
