"""What each site really kept for backward, in bytes, and why something was kept exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from s2a_core.compression.record import Recorder
from s2a_core.kernels import backend_name, why_reference
from s2a_core.operators import Site
from s2a_core.storage import Storage


@dataclass(frozen=True)
class LedgerEntry:
    """One storage kept by one site. bytes: of the whole storage; shape, dtype: of the tensor given to autograd."""

    site: str
    op: str
    storage: Storage
    bytes: int
    shape: tuple[int, ...]
    dtype: str
    reason: str


@dataclass(frozen=True)
class Ledger:
    """Every storage kept since the session began, once each, without parameters, buffers and the model's input.

    kernels: native, reference or triton, what coded it; why_reference: why nothing faster did, empty if something did.
    """

    entries: tuple[LedgerEntry, ...] = ()
    kernels: str = ""
    why_reference: str = ""

    @classmethod
    def of(cls, entries: Iterable[LedgerEntry], model: nn.Module) -> Ledger:
        """The ledger of what was kept for `model`, with the kernels of its device."""
        device = next((p.device for p in model.parameters()), "cpu")
        return cls(tuple(entries), backend_name(device), why_reference(device))

    @property
    def total_bytes(self) -> int:
        """Bytes held for backward."""
        return sum(entry.bytes for entry in self.entries)

    def bytes_by_site(self) -> dict[str, int]:
        """Site name -> bytes held, in forward order."""
        totals: dict[str, int] = {}
        for entry in self.entries:
            totals[entry.site] = totals.get(entry.site, 0) + entry.bytes
        return totals

    @property
    def kept_exact(self) -> tuple[LedgerEntry, ...]:
        """What no code covers, each with its reason."""
        return tuple(entry for entry in self.entries if entry.storage is Storage.EXACT)


class LedgerBook(Recorder):
    """Takes in what is kept as it is kept: each storage once while it is alive."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []
        self._known: dict[int, StorageWeakRef] = {}

    def keeps(self, site: Site, stored: Tensor, storage: Storage, reason: str, original: Tensor) -> None:
        """`site` keeps `stored` for backward."""
        owner = stored.untyped_storage()
        known = self._known.get(owner._cdata)
        if known is not None and not known.expired():
            return
        self._known[owner._cdata] = StorageWeakRef(owner)
        dtype = str(original.dtype).removeprefix("torch.")
        shape = tuple(original.shape)
        self.entries.append(LedgerEntry(site.name, site.op, storage, owner.nbytes(), shape, dtype, str(reason)))
