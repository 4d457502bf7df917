"""Giving a module back the `forward` that another one stood in for."""

from __future__ import annotations

from typing import Any


def put_back(attributes: dict[str, Any], own: Any) -> None:
    """The module's own forward again; its class's where it had none of its own. attributes: vars(module)."""
    if own is None:
        del attributes["forward"]
    else:
        attributes["forward"] = own
