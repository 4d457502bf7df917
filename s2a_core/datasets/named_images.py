"""Images of a directory by what a table or a list calls them: a path, a name, or a name without its suffix."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from s2a_core.datasets.folder import image_files


@dataclass
class NamedImages:
    """The images below a directory, by their relative path and, where only one has it, by name and by bare name."""

    root: Path
    by_path: dict[str, Path] = field(default_factory=dict)
    by_name: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def below(cls, root: Path) -> NamedImages:
        images = cls(root)
        for path in image_files(root):
            images.by_path[path.relative_to(root).as_posix()] = path
            for name in {path.name, path.stem}:
                images.by_name[name].append(path)
        return images

    def named(self, text: str) -> Path | str:
        """The image of a row, or why there is none."""
        relative = text.replace("\\", "/").removeprefix("./")
        if relative.startswith("/") or ".." in relative.split("/"):
            return "leads out of the directory of the images: paths are relative to it"
        if relative in self.by_path:
            return self.by_path[relative]
        alike = [] if "/" in relative else self.by_name.get(relative, [])
        if len(alike) > 1:
            return f"{len(alike)} images have this name: give its path"
        return alike[0] if alike else "no such image"
