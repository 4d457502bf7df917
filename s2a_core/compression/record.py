"""What may watch a session: the calls it sees and the tensors that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from s2a_core.kernels import Histogram
from s2a_core.kernels.curves import Curve
from s2a_core.operators import Call, Operator, Site, storages_of
from s2a_core.storage import Storage


class Recorder:
    """Called by a session; a subclass overrides what it wants to know."""

    def called(self, call: Call, operator: Operator) -> None:
        """A call that saves something is about to run."""

    def begins(self, site: Site) -> None:
        """The turn of a site begins."""

    def unlisted(self, site: Site, tensor: Tensor) -> None:
        """An operator that no declaration routes saves a tensor that could be coded."""

    def keeps(self, site: Site, stored: Tensor, storage: Storage, reason: str, original: Tensor) -> None:
        """`site` keeps `stored` for backward: `original` as it is, or a code of it. reason: why it is exact."""

    def packed(self, site: Site, stored: Any, is_owned: bool) -> Any:
        """What autograd is to hold instead of `stored`. is_owned: a parameter or the model's input."""
        return stored


@dataclass(frozen=True)
class SiteSpec:
    """One place where an operator keeps something. shape: samples first; region, block: what can absorb it."""

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    options: tuple[Storage, ...]
    region: str | None
    position: int
    block: str | None = None


class SiteList(Recorder):
    """Every site with the storages it can use, in forward order."""

    def __init__(self) -> None:
        self.specs: list[SiteSpec] = []

    def called(self, call: Call, operator: Operator) -> None:
        """A routed call."""
        x = operator.listed(call.given)
        if x is not None:
            self._add(call.site, x, operator.offered(call.given))

    def unlisted(self, site: Site, tensor: Tensor) -> None:
        """A stock call under a site without a counter."""
        if all(spec.name != site.name for spec in self.specs):
            self._add(site, tensor, storages_of(site.op))

    def _add(self, site: Site, x: Tensor, options: tuple[Storage, ...]) -> None:
        dtype = str(x.dtype).removeprefix("torch.")
        self.specs.append(SiteSpec(site.name, site.op, tuple(x.shape), dtype, options, None, len(self.specs)))


class Histograms(Recorder):
    """Where the inputs of each smooth activation lie: site -> its curve and a histogram."""

    def __init__(self) -> None:
        self.of_sites: dict[str, tuple[Curve, Histogram]] = {}

    def called(self, call: Call, operator: Operator) -> None:
        """Calls that have a curve."""
        if "curve" in call.given:
            self.of_sites[call.site.name] = (call.given["curve"], Histogram.of(call.given["input"]))
