"""Tensors of several sites are found; sites nobody listed are listed where they run."""

from __future__ import annotations

from s2a_core.compression import SiteSpec
from s2a_core.profiling.runs import Step
from s2a_core.profiling.sharing import shared_storages, with_unlisted
from s2a_core.storage import Storage


def test_a_tensor_of_two_sites_is_shared_and_one_of_one_is_not() -> None:
    steps = [Step({}, 0, 0.0, 0.0, kept=(("a", 1, 8 * n + 4), ("b", 1, 8 * n + 4), ("b", 2, 99))) for n in (2, 4)]
    (found,) = shared_storages((2, 4), (steps[0], steps[1]), {"a", "b"})
    assert (found.sites, found.bytes_per_sample, found.fixed_bytes) == (("a", "b"), 8, 4)
    assert shared_storages((2, 4), (steps[0], steps[1]), {"a"}) == ()


def test_unlisted_sites_come_after_the_one_they_follow_and_know_their_region() -> None:
    def spec(name: str, op: str, region: str | None = None) -> SiteSpec:
        return SiteSpec(name, op, (1, 2), "float32", (Storage.EXACT,), region, 0)

    specs = (spec("m:region", "region"), spec("m.act:gelu", "gelu", "m:region"), spec("head:linear", "linear"))
    found = with_unlisted(specs, {"m.act:gelu": 3, "m.fc:cumsum": 4, "head:linear": 1})
    assert [s.name for s in found] == ["m:region", "m.act:gelu", "m.fc:cumsum", "head:linear"]
    assert found[2].region == "m:region"
    assert found[2].options == (Storage.EXACT,)
