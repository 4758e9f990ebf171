"""The pair of interfaces between the host and the cluster's network namespace."""

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import ClusterError

POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"

# The pair's addresses come from here. Kubernetes refuses a link-local address for the API server.
POOL = ipaddress.IPv4Network("10.213.0.0/16")


@dataclass(frozen=True)
class Pair:
    """The two addresses of a /30."""

    host: str
    node: str

    @classmethod
    def of(cls, subnet: ipaddress.IPv4Network) -> "Pair":
        host, node = subnet.hosts()
        return cls(str(host), str(node))


def choose_subnet(seed: str, used: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """A /30 of the pool that overlaps nothing in `used`; the same for the same seed if it can be.

    Raises ClusterError when all of the pool is taken.
    """
    # A default route covers everything and takes nothing.
    taken = [network for network in used if network.prefixlen > 0]
    count = POOL.num_addresses // 4
    first = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") % count
    for step in range(count):
        start = int(POOL.network_address) + 4 * ((first + step) % count)
        subnet = ipaddress.IPv4Network((start, 30))
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    raise ClusterError(
        f"no free /30 is left in {POOL}: this host's routes cover all of it",
        advice="Another network on this host must be taken away or narrowed first (`ip route`).",
    )


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """The host's IPv4 addresses and routes, of all routing tables."""
    found: list[ipaddress.IPv4Network] = []
    for interface in json.loads(_ip("-j", "-4", "address", "show") or "[]"):
        for address in interface.get("addr_info", []):
            text = f"{address['local']}/{address['prefixlen']}"
            found.append(ipaddress.IPv4Network(text, strict=False))
    for route in json.loads(_ip("-j", "-4", "route", "show", "table", "all") or "[]"):
        destination = route.get("dst", "default")
        if destination != "default":
            found.append(ipaddress.IPv4Network(destination, strict=False))
    return found


def connect(interface: str, init: int, pair: Pair) -> None:
    """Makes the pair of interfaces, one end in the network namespace of process `init`."""
    disconnect(interface)
    _ip(
        "link", "add", interface, "type", "veth",
        "peer", "name", "eth0", "netns", str(init),
    )  # fmt: skip
    _ip("address", "add", f"{pair.host}/30", "dev", interface)
    _ip("link", "set", interface, "up")
    inside = ["nsenter", "-t", str(init), "-n", "ip"]
    for command in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{pair.node}/30", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["route", "add", "default", "via", pair.host],
    ):
        _run([*inside, *command])


def exists(interface: str) -> bool:
    shown = subprocess.run(["ip", "link", "show", interface], capture_output=True, check=False)
    return shown.returncode == 0


def disconnect(interface: str) -> None:
    if exists(interface):
        # Deleting the namespace deletes the pair too, but some time after its last process ended.
        subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    return _run(["ip", *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
