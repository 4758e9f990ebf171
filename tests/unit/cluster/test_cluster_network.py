"""Which addresses the embedded cluster takes on a host."""

import ipaddress

import pytest
from lepton_cluster.errors import ClusterError
from lepton_cluster.network import POD_NETWORK, POOL, SERVICE_NETWORK, Pair, choose_subnet

Network = ipaddress.IPv4Network


def test_the_same_checkout_gets_the_same_addresses() -> None:
    assert choose_subnet("a", []) == choose_subnet("a", [])


def test_two_checkouts_get_different_addresses() -> None:
    assert choose_subnet("a", []) != choose_subnet("b", [])


def test_the_subnet_avoids_what_the_host_uses() -> None:
    first = choose_subnet("a", [])
    used = [Network(f"{first.network_address}/24", strict=False), Network("192.168.0.0/16")]
    chosen = choose_subnet("a", used)
    assert not any(chosen.overlaps(network) for network in used)
    assert chosen.subnet_of(POOL)


def test_a_default_route_takes_nothing() -> None:
    assert choose_subnet("a", [Network("0.0.0.0/0")]) == choose_subnet("a", [])


def test_a_host_that_uses_the_whole_pool_is_told_so() -> None:
    with pytest.raises(ClusterError, match="no free /30 is left"):
        choose_subnet("a", [Network("10.0.0.0/8")])


def test_pods_and_services_have_networks_of_their_own() -> None:
    networks = (POOL, POD_NETWORK, SERVICE_NETWORK)
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)


def test_a_pair_is_the_two_hosts_of_a_subnet() -> None:
    assert Pair.of(Network("10.213.0.4/30")) == Pair("10.213.0.5", "10.213.0.6")
