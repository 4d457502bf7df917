"""Which addresses a webhook may reach: public ones only, checked on the very address that is connected to."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from s2a_core.errors import InvalidInput

MAX_URL = 2000


def parse(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of a webhook's URL. Raises InvalidInput for anything but http(s) without credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname
    except ValueError as error:
        raise InvalidInput(f"{url[:200]!r} is not a URL") from error
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise InvalidInput("a webhook's URL is http://HOST/... or https://HOST/...")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("a webhook's URL carries no user and no password: deliveries are signed")
    return parts.scheme, host, port


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet; an IPv4 address inside an IPv6 one is looked at itself."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if parsed in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast


def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """The address to connect to. Raises InvalidInput when the host is unknown or any of its addresses is private."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"{host} has no address") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in answers]
    private = [address for address in addresses if not is_public(address)]
    if private and not allow_private:
        raise InvalidInput(f"{host} is not on the public internet ({private[0]}): webhooks do not go there")
    return addresses[0]
