"""From what was said on the command line, or in a YAML file, to the request that the pipeline takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InvalidInput
from s2a_core.fields import require_known
from s2a_core.requests import FIELDS, option_of, request_of, spoken_names
from s2a_core.sizes import parse_bytes

if TYPE_CHECKING:
    from s2a_core.requests import RunRequest


def run_request(asked: Mapping[str, Any], **own: Any) -> RunRequest:
    """A RunRequest from what was said by field, its budget still as text; own: the program's fields.

    Raises BadBudget and InvalidInput before anything is loaded.
    """
    return request_of(with_budget(asked), **own)


def with_budget(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said with the budget in bytes."""
    budget = asked.get("budget_bytes")
    return {**asked, "budget_bytes": parse_bytes(budget)} if isinstance(budget, str) else dict(asked)


def require(asked: Mapping[str, Any], *names: str) -> None:
    """Raises InvalidInput for what this command cannot do without, with the words that would say it."""
    examples = {"budget_bytes": "4GiB", "data": "photos/", "model": "resnet18"}
    for name in names:
        if asked.get(name) is None:
            option = "MODEL" if name == "model" else option_of(name)
            example = examples[name] if name == "model" else f"{option} {examples[name]}"
            raise InvalidInput(f"{option} is missing: say it, {example} say, or in the file of --config")


def read_config(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The fields of a YAML file, by field of the request, as far as the command takes them: `names`.

    Raises InvalidInput for a file that is none, UnknownField with the nearest name for a field there is not.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"{path} cannot be read as YAML: {reason}", details={"path": str(path)}) from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} holds no fields: it needs lines such as `epochs: 5`", details={"path": str(path)})
    spoken = dict(zip(spoken_names(), FIELDS, strict=True))
    require_known(document, spoken, str(path))
    # YAML reads 1e-4 as a text.
    fields = {spoken[k]: FIELDS[spoken[k]].read(v) for k, v in document.items() if v is not None}
    if isinstance(fields.get("budget_bytes"), int):
        fields["budget_bytes"] = str(fields["budget_bytes"])
    return {name: value for name, value in fields.items() if name in names}
