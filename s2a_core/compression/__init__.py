"""`compress(model, plan)`: each site keeps for backward what the plan says, without a change to the model."""

from s2a_core.compression.discover import discover
from s2a_core.compression.frozen import narrow_weights, prepare_frozen_weights
from s2a_core.compression.ledger import Ledger, LedgerEntry
from s2a_core.compression.record import Recorder, SiteSpec
from s2a_core.compression.session import Session, compress

__all__ = [
    "Ledger",
    "LedgerEntry",
    "Recorder",
    "Session",
    "SiteSpec",
    "compress",
    "discover",
    "narrow_weights",
    "prepare_frozen_weights",
]
