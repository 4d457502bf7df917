"""The ledger: totals, bytes by site, and what stayed exact with its reason."""

from __future__ import annotations

import torch

from s2a_core import kernels
from s2a_core.compression import Ledger, LedgerEntry, compress
from s2a_core.storage import Storage, StoragePolicy
from tests.s2a_core.compression.models import PlainNet


def test_bytes_are_summed_by_site() -> None:
    def entry(site: str, num_bytes: int, storage: Storage) -> LedgerEntry:
        return LedgerEntry(site, "gelu", storage, num_bytes, (1,), "float32", "because")

    ledger = Ledger((entry("a", 1, Storage.B4), entry("b", 2, Storage.EXACT), entry("a", 4, Storage.B4)))
    assert ledger.total_bytes == 7
    assert ledger.bytes_by_site() == {"a": 5, "b": 2}
    assert [e.site for e in ledger.kept_exact] == ["b"]


def test_everything_kept_exact_has_a_reason() -> None:
    model = PlainNet()
    with compress(model, StoragePolicy(), ledger=True) as session:
        model(torch.randn(2, 40, 32))
    assert session.ledger.entries
    assert all(entry.reason for entry in session.ledger.kept_exact)


def test_it_says_which_kernels_coded_and_why_no_faster_ones() -> None:
    model = PlainNet()
    kernels.disable_native()
    with compress(model, StoragePolicy(), ledger=True) as session:
        model(torch.randn(2, 40, 32))
    assert (session.ledger.kernels, session.ledger.why_reference) == ("reference", "disabled")
