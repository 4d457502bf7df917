"""Storages and policies."""

from __future__ import annotations

from s2a_core.storage import CODES, Storage, StoragePolicy, kept_as, storage_words, whole_of


def test_codes_know_their_bits() -> None:
    assert [s.bits for s in CODES] == [8, 6, 5, 4, 3, 2, 1]
    assert Storage.MASK.bits is None


def test_a_policy_falls_back_to_its_default() -> None:
    policy = StoragePolicy(sites={"a": Storage.B4}, default=Storage.NONE)
    assert policy.storage("a") is Storage.B4
    assert policy.storage("b") is Storage.NONE


def test_whole_regions_and_blocks_are_told_apart_from_sites() -> None:
    assert [whole_of(name) for name in ("a.mlp:region", "a:block", "a:gelu", "")] == ["region", "block", "", ""]
    assert (kept_as("region", Storage.B4), kept_as("", Storage.EXACT)) == ("region b4", "exact")


def test_storages_have_words() -> None:
    assert [storage_words(s) for s in ("exact", "mask", "b3", "none")] == [
        "exact",
        "exact masks",
        "3-bit codes",
        "nothing",
    ]
    assert storage_words("b4", "region") == "region rebuilt from 4 bits"
