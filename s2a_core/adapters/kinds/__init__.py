"""The registry of adapters: each kind is a file of this folder that declares KIND, and one line here.

Words of `--adapter`, help, forms, cards, learning rates, merging and the planner's fallbacks derive from it.
"""

from __future__ import annotations

from importlib import import_module

from s2a_core.adapters.kind import Kind

# In the order in which `--adapter` text, forms and tables name them.
FILES = (
    "head",
    "bias",
    "norm",
    "prompt",
    "side",
    "side_detached",
    "ssf",
    "adaptformer",
    "lora",
    "lora_lite",
    "full",
)

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (import_module(f"s2a_core.adapters.kinds.{file}").KIND for file in FILES)
}
