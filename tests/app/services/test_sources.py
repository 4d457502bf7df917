"""Which data and weights may be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import NotAllowed
from app.services.keys import Caller
from app.services.sources import data_source, weights_source
from s2a_core.errors import InvalidInput

USER = Caller("t", frozenset({"write"}))
ADMIN = Caller("t", frozenset({"admin"}))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("digits", "digits"),
        ("CIFAR10", "torchvision:CIFAR10"),
        ("tv:cifar10", "torchvision:cifar10"),
        ("hf:owner/name", "hf:owner/name"),
        ("owner/name.v2", "hf:owner/name.v2"),
    ],
)
def test_names(text: str, source: str) -> None:
    assert data_source(text, USER, []) == source


@pytest.mark.parametrize(
    "text", ["a/../b", "a/..", "../a", "./a", "~/a", "a b", "a/b/c", "\\\\host\\x", "a\0b", "hf:a"]
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(InvalidInput):
        data_source(text, USER, [])


def test_paths_under_a_root_and_links_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "photos").mkdir(parents=True)
    (root / "out").symlink_to("/etc")
    assert data_source(str(root / "photos"), USER, [root]) == str(root / "photos")
    for text in (root / "out", root / ".." / "x", tmp_path / "database", "/etc/passwd"):
        with pytest.raises(NotAllowed):
            data_source(str(text), USER, [root])
    assert data_source("/etc", ADMIN, []) == "/etc"


def test_weights(tmp_path: Path) -> None:
    for text in ("none", "pretrained", "builtin:s2a_tiny"):
        assert weights_source(text, USER, []) == text
    assert weights_source(None, USER, []) == "pretrained"
    with pytest.raises(InvalidInput):
        weights_source("model.safetensors", USER, [])
    with pytest.raises(NotAllowed):
        weights_source(str(tmp_path / "m.safetensors"), USER, [])
