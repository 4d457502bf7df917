"""Webhooks reach public addresses only, whatever the name says."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from app.services.addresses import is_public, parse, resolve
from s2a_core.errors import InvalidInput


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(InvalidInput, match="not on the public internet"):
        resolve("example.org", 80, allow_private=False)
    assert resolve("example.org", 80, allow_private=True) == "93.184.216.34"


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "http://", "http://u:p@example.org/", "http://exa mple/", "http://[::1", "//x", "é"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse(url)


def test_parts_of_an_address() -> None:
    assert parse("https://example.org/a?b=c") == ("https", "example.org", 443)
    assert parse("http://example.org:8080/") == ("http", "example.org", 8080)
