"""s2a: fine-tune any timm model inside a memory budget. Importing this module does not import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from s2a_core.libraries import quiet_libraries

if TYPE_CHECKING:
    from s2a_core.adapters import AdapterSpec, add_adapters
    from s2a_core.compression import compress
    from s2a_core.models import load_model
    from s2a_core.planning import Plan, plan
    from s2a_core.profiling import profile

quiet_libraries()  # before any of its modules imports one, whichever is imported first

__version__ = "0.1.0"
__all__ = ["AdapterSpec", "Plan", "add_adapters", "compress", "load_model", "plan", "profile"]

_HOMES = {
    "AdapterSpec": "s2a_core.adapters",
    "Plan": "s2a_core.planning",
    "add_adapters": "s2a_core.adapters",
    "compress": "s2a_core.compression",
    "load_model": "s2a_core.models",
    "plan": "s2a_core.planning",
    "profile": "s2a_core.profiling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 's2a_core' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
