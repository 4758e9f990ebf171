"""How connections to the API server are made: past proxies, and noticing when the peer is gone."""

import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def bypasses_proxy(url: str) -> bool:
    """Whether a proxy in the environment is not meant for this address.

    As Go's httpproxy, and unlike urllib: never for this machine, and NO_PROXY may hold networks
    such as 10.96.0.0/12, which is how clusters exempt their services. Names are left to urllib.
    """
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return address.is_loopback or any(
        address in network for network in map(_network, exempt.split(",")) if network
    )


def proxy_for(url: str) -> str | None:
    """The proxy in the environment (HTTPS_PROXY and its like) that this address is reached by.

    aiohttp would look it up for every request, in a thread, and ~/.netrc, too, which knows
    nothing of API servers.
    """
    parts = urlsplit(url)
    if bypasses_proxy(url) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def watched_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within half a minute that its peer's machine is gone.

    A watch only reads: without keep-alive probes, nothing would tell it.
    """
    family, kind, protocol, _, _ = address
    sock = socket.socket(family=family, type=kind, proto=protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
