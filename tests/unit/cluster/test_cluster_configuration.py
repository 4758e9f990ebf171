"""What the components of the embedded cluster are told."""

import base64
import tomllib

import pytest
from lepton_cluster import addons, certificates, cgroups, components, configuration
from lepton_cluster.errors import ClusterError
from lepton_cluster.registry import repository

VERSION_1 = """\
62 61 254:0 / / rw shared:1 - ext4 /dev/vda rw
67 66 0:29 / /sys/fs/cgroup/cpu rw shared:14 - cgroup cgroup rw,cpu
70 66 0:32 / /sys/fs/cgroup/memory rw shared:17 - cgroup cgroup rw,memory
76 66 0:38 / /sys/fs/cgroup/unified rw shared:23 - cgroup2 cgroup2 rw
"""
VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_cgroups_of_version_1_and_2_are_told_apart() -> None:
    version, mounts = cgroups.hierarchies(VERSION_1)
    assert (version, [path.name for path in mounts]) == (1, ["cpu", "memory"])
    version, mounts = cgroups.hierarchies(VERSION_2)
    assert (version, [str(path) for path in mounts]) == (2, ["/sys/fs/cgroup"])


def test_the_kubelet_is_asked_to_accept_version_1_only_where_it_is_in_use() -> None:
    assert configuration.kubelet("lepton-1", 1)["failCgroupV1"] is False
    assert "failCgroupV1" not in configuration.kubelet("lepton-1", 2)


def test_the_kubelet_answers_nobody_unasked() -> None:
    settings = configuration.kubelet("lepton-1", 2)
    assert settings["authentication"]["anonymous"] == {"enabled": False}
    assert settings["authorization"] == {"mode": "Webhook"}


def test_pods_find_pushed_images_under_the_name_they_were_pushed_by() -> None:
    assert repository("localhost/lepton/trainer:dev") == "lepton/trainer:dev"
    assert repository("localhost/trainer") == "trainer:latest"
    address = f"http://127.0.0.1:{configuration.REGISTRY_PORT}"
    assert tomllib.loads(configuration.registry_hosts())["server"] == address


@pytest.mark.parametrize("image", ["lepton/trainer:dev", "docker.io/library/debian:trixie", ""])
def test_an_image_of_another_registry_is_not_pushed(image: str) -> None:
    with pytest.raises(ClusterError, match="cannot be pushed"):
        repository(image)


def test_compressed_layers_are_not_kept_on_the_node() -> None:
    cri = tomllib.loads(configuration.containerd())["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["containerd"]["discard_unpacked_layers"] is True


def test_the_user_gets_a_kubeconfig_that_stands_alone() -> None:
    credentials = configuration.Credentials(b"authority", b"certificate", b"key")
    document = configuration.user_kubeconfig("10.213.0.2", credentials)
    assert document["clusters"][0]["cluster"]["server"] == "https://10.213.0.2:6443"
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]) == b"key"


def test_the_audit_log_leaves_out_only_the_clusters_own_components() -> None:
    rules = configuration.audit_policy()["rules"]
    assert rules[-1] == {"level": "Metadata"}
    for rule in rules[:-1]:
        assert {"users", "userGroups", "nonResourceURLs"} & rule.keys()


def test_metrics_are_trusted_by_certificates_alone() -> None:
    *_, joined = addons.metrics("10.213.0.2", b"authority")
    assert base64.b64decode(joined.body["spec"]["caBundle"]) == b"authority"
    service = joined.body["spec"]["service"]
    served = f"DNS:{service['name']}.{service['namespace']}.svc"
    identities = certificates.identities("node-1", "10.213.0.2", ("127.0.0.1",))
    names = {identity.name: identity.addresses for identity in identities}
    assert names["metrics-server"] == (served,)
    assert not [option for option in components.METRICS.command if "insecure" in option]


def test_metrics_are_found_where_they_are_served() -> None:
    service, endpoints, _ = addons.metrics("10.213.0.2", b"authority")
    (port,) = endpoints.body["ports"]
    assert service.body["spec"]["ports"][0]["targetPort"] == port["port"]
    assert f"--secure-port={port['port']}" in components.METRICS.command
    assert endpoints.body["endpoints"] == [{"addresses": ["10.213.0.2"]}]


def test_nobody_waits_for_the_metrics_of_nodes_that_are_only_played() -> None:
    label, _, value = "type!=kwok".partition("!=")
    assert addons.fake_node(7)["metadata"]["labels"][label] == value
    assert f"--node-selector={label}!={value}" in components.METRICS.command


def test_gang_scheduling_is_on_wherever_it_has_to_be() -> None:
    for part in (
        components.api_server("10.213.0.2"),
        components.CONTROLLER_MANAGER,
        components.SCHEDULER,
    ):
        assert "--feature-gates=GenericWorkload=true" in part.command


def test_ordinary_pods_do_not_land_on_nodes_that_are_only_played() -> None:
    node = addons.fake_node(7)
    assert node["spec"]["taints"][0]["effect"] == "NoSchedule"
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
