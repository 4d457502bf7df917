"""s2a: fine-tune any timm model inside a memory budget. Importing this module does not import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2a_core.adapters import AdapterSpec, add_adapters
    from s2a_core.compress import compress
    from s2a_core.models import load_model
    from s2a_core.plan import Plan, plan
    from s2a_core.profile import profile

__version__ = "0.1.0"
__all__ = ["AdapterSpec", "Plan", "add_adapters", "compress", "load_model", "plan", "profile"]

_HOMES = {
    "AdapterSpec": "s2a_core.adapters",
    "Plan": "s2a_core.plan",
    "add_adapters": "s2a_core.adapters",
    "compress": "s2a_core.compress",
    "load_model": "s2a_core.models",
    "plan": "s2a_core.plan",
    "profile": "s2a_core.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 's2a_core' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
