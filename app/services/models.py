"""The models that can be fine-tuned: timm's registry, listed by a child process so that this one never loads torch."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog

from app.errors import NotFound
from app.settings import child_environment
from app.store import cursors
from s2a_core.errors import UnknownModel
from s2a_core.fields import nearest

log = structlog.get_logger("s2a.models")


class ModelCatalog:
    """The list that comes with s2a, or one made for another release of timm, kept under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: list[dict[str, Any]] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def models(self) -> list[dict[str, Any]]:
        """Every model by name. Of another release of timm than s2a's list, they are listed in the background first."""
        with self._lock:
            if self._known is None:
                self._load()
            elif self._child is not None and (exit_code := self._child.poll()) is not None:
                self._child = None
                if exit_code:  # it would fail again
                    log.error("the models could not be listed", exit_code=exit_code)
                else:
                    self._load()
            return self._known or []

    def _load(self) -> None:
        ours = json.loads(files("app.assets").joinpath("models.json").read_text(encoding="utf-8"))
        self._known = ours["models"]
        try:
            installed = importlib.metadata.version("timm")
        except importlib.metadata.PackageNotFoundError:  # an image that only serves the API
            return
        if ours["timm"] == installed:
            return
        cached = self.folder / f"models-{installed}.json"
        if cached.is_file():
            self._known = json.loads(cached.read_text(encoding="utf-8"))["models"]
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-P", "-m", "app.runner.models", str(cached)]
            log.info("listing models", timm=installed, listed_for=ours["timm"])
            quiet = subprocess.DEVNULL
            self._child = subprocess.Popen(
                command, stdin=quiet, stdout=quiet, stderr=quiet, env=child_environment(), start_new_session=True
            )

    def search(self, words: str, family: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of the models whose name or family holds every word, those whose name begins with it first."""
        wanted = words.lower().split()
        matches = [
            entry
            for entry in self.models()
            if (family is None or entry["family"] == family)
            and all(word in f"{entry['name']} {entry['family']}".lower() for word in wanted)
        ]
        first = wanted[0] if wanted else ""
        matches.sort(key=lambda entry: (not entry["name"].startswith(first), entry["name"]))
        start = cursors.decode(after, (int,))[0] if after is not None else 0
        start = max(0, start)
        page = matches[start : start + limit]
        end = start + len(page)
        return {"items": page, "next": cursors.encode(end) if end < len(matches) else None, "total": len(matches)}

    def get(self, name: str) -> dict[str, Any]:
        """One model by its name, with or without a pretrained tag."""
        base = name.partition(".")[0]
        model = next((entry for entry in self.models() if entry["name"] in (name, base)), None)
        if model is None:
            raise NotFound(f"timm has no model {name[:100]!r}: search with GET /v1/models?q=")
        return model

    def require(self, name: str) -> None:
        """Raises UnknownModel for a name that timm does not have; while another release is being listed, none."""
        known = {entry["name"] for entry in self.models()}
        if self._child is None and name.partition(".")[0] not in known:
            raise UnknownModel(name[:100], nearest(name[:100].rpartition("/")[2], known))

    def close(self) -> None:
        """End a listing that is under way."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
