"""From what was said on the command line, or in a YAML file, to the request that the pipeline takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.terminal import LOADING, Terminal
from s2a_core.amounts import parse_bytes
from s2a_core.errors import BadBudget, InvalidInput
from s2a_core.fields import require_known
from s2a_core.requests import DEFAULTS, FIELDS, option_of, request_of, spoken_names
from s2a_core.sizes import format_bytes

if TYPE_CHECKING:
    from s2a_core.requests import RunRequest


AUTO_SHARE = 0.8  # of the free memory: other programs go on


def run_request(asked: Mapping[str, Any], **own: Any) -> RunRequest:
    """A RunRequest from what was said by field, its budget still as text; own: the program's fields.

    Raises BadBudget and InvalidInput before anything is loaded.
    """
    return request_of(with_budget(asked), **own)


def with_budget(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said with the budget in bytes; of `80%` and `auto` on this machine."""
    budget = asked.get("budget_bytes")
    if not isinstance(budget, str):
        return dict(asked)
    share = share_of(budget)
    if share is None:
        return {**asked, "budget_bytes": parse_bytes(budget)}
    return {**asked, "budget_bytes": int(share * free_bytes(asked.get("device"))[0])}


def share_of(budget: str) -> float | None:
    """The share of free memory that `80%` or `auto` means, None for an amount. Raises BadBudget."""
    if budget.strip().lower() == "auto":
        return AUTO_SHARE
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", budget)
    if match is None:
        return None
    share = float(match[1]) / 100
    if not 0 < share <= 1:
        raise BadBudget(f"a budget is more than 0 % and at most 100 % of the free memory, not {budget}")
    return share


def free_bytes(device: str | None) -> tuple[int, str]:
    """(bytes that nobody uses, where they are) of a device: of the GPU, or of this machine's memory on CPU."""
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name(device or "cuda")
            return int(torch.cuda.mem_get_info(device or "cuda")[0]), f"on {name}"
    import psutil

    return int(psutil.virtual_memory().available), "in this machine's memory"


def settle_budget(terminal: Terminal, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said with the budget in bytes; says what `80%` and `auto` came to on this machine. Raises BadBudget."""
    budget, device = asked.get("budget_bytes"), asked.get("device")
    share = share_of(budget) if isinstance(budget, str) else None
    if share is None:
        return with_budget(asked)
    with terminal.busy(LOADING if device != "cpu" else "asking for free memory"):
        settled, (_, where) = with_budget(asked), free_bytes(device)
    terminal.note(f"budget {format_bytes(settled['budget_bytes'])}: {100 * share:g} % of what is free {where}")
    return settled


def require(asked: Mapping[str, Any], *names: str) -> None:
    """Raises InvalidInput for what this command cannot do without, with the words that would say it."""
    examples = {"budget_bytes": "4GiB", "data": "photos/", "model": "resnet18"}
    for name in names:
        if asked.get(name) is None:
            option = "MODEL" if name == "model" else option_of(name)
            example = examples[name] if name == "model" else f"{option} {examples[name]}"
            raise InvalidInput(f"{option} is missing: say it, {example} say, or in the file of --config")


def as_config(asked: Mapping[str, Any]) -> str:
    """What was said as YAML that --config reads; fields of which nothing was said as remarks with what holds then."""
    import yaml

    lines = []
    for (name, rule), spoken in zip(FIELDS.items(), spoken_names(), strict=True):
        unsaid = rule.unsaid or DEFAULTS.get(name)
        if asked.get(name) is not None:
            lines.append(yaml.safe_dump({spoken: asked[name]}, allow_unicode=True, width=10_000))
        else:
            lines.append(f"# {spoken}:{f' {unsaid}' if unsaid not in (None, '') else ''}\n")
    return "".join(lines)


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
