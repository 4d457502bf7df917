"""What is trained: adapters by name, put on a model in place. Only their specification imports without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.spec import AdapterSpec

if TYPE_CHECKING:
    from s2a_core.adapters.apply import add_adapters, changed_names, resolve, trained_state_dict
    from s2a_core.adapters.merge import merged_state_dict

__all__ = ["AdapterSpec", "add_adapters", "changed_names", "merged_state_dict", "resolve", "trained_state_dict"]

_HOMES = {
    "add_adapters": "apply",
    "changed_names": "apply",
    "resolve": "apply",
    "trained_state_dict": "apply",
    "merged_state_dict": "merge",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 's2a_core.adapters' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"s2a_core.adapters.{_HOMES[name]}"), name)
