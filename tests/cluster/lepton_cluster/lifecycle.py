"""Starting, stopping and inspecting the cluster: the order in which everything happens."""

import contextlib
import fcntl
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import (
    addons,
    build,
    certificates,
    cgroups,
    components,
    configuration,
    dns,
    images,
    machine,
    network,
    packages,
    registry,
)
from .api import Api, ApiError
from .components import Component
from .configuration import API_PORT, GPUS, NODE
from .errors import ClusterError
from .layout import INSIDE, INSIDE_BINARIES, Layout
from .network import DNS_SERVICE, Pair
from .progress import Progress

FAKE_NODES = "/api/v1/nodes?labelSelector=type%3Dkwok"
LAUNCH_SECONDS = 5.0


@dataclass(frozen=True)
class Facts:
    """What `up` chose, kept in `.cluster/cluster.json`."""

    node_address: str
    host_address: str
    interface: str
    binaries: str
    packages: str
    since: float
    complete: bool = False
    """Whether `up` came to its end."""


def read_facts(layout: Layout) -> Facts | None:
    try:
        return Facts(**json.loads(layout.facts.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def exclusively(layout: Layout) -> Iterator[None]:
    """One `up`, `down` or `nodes` at a time in a checkout."""
    if os.geteuid() != 0:
        raise ClusterError(
            "the cluster needs root: it makes namespaces, network interfaces and cgroups",
            advice="Run it with sudo, or use a cluster of yours: CLUSTER=existing.",
        )
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"another command is working on the cluster in {layout.state}",
                advice="Wait until it has ended.",
            ) from None
        yield


def control_plane(address: str) -> tuple[Component, ...]:
    """Every component that has to run, in the order of their start."""
    return (
        components.ETCD,
        components.CONTAINERD_SERVICE,
        components.REGISTRY,
        components.api_server(address),
        components.CONTROLLER_MANAGER,
        components.SCHEDULER,
        components.kubelet(address, addons.GPU_LABELS),
        components.PROXY,
        components.VOLUMES,
        components.METRICS,
    )


def missing_components(init: int) -> list[str]:
    running = {process.name for process in machine.processes(init)}
    return [part.name for part in control_plane("") if part.process_name not in running]


def connect(layout: Layout, facts: Facts) -> Api:
    return Api(facts.node_address, API_PORT, layout.pki)


def running(layout: Layout) -> tuple[int, Facts]:
    """The first process and the facts of a cluster that is up. Raises ClusterError if none is."""
    init, facts = machine.find_init(layout), read_facts(layout)
    if init is None or facts is None:
        raise ClusterError("the cluster is not up", advice="Start it: make cluster-up")
    return init, facts


# --- up ---------------------------------------------------------------------------------------


def up(layout: Layout, progress: Progress) -> Facts:
    """Brings the cluster up, or finds that it is."""
    init, facts = machine.find_init(layout), read_facts(layout)
    if init is not None and facts is not None and facts.complete:
        _keep_up(layout, progress, init, facts)
        return facts
    tools = packages.ensure(progress)
    binaries = build.ensure(progress)
    if init is not None or leftovers(layout):
        progress.line("an earlier cluster was not stopped cleanly: removing what is left of it")
        stop(layout, progress)
    began = time.monotonic()
    _forget_state(layout)
    facts = _prepare(layout, progress, binaries, tools)
    init = _start_machine(layout, progress, facts)
    if any((layout.state / "registry").iterdir()):
        with progress.step("forget images that were pushed over"):
            machine.run(init, components.collect_registry_garbage())
    with progress.step("start etcd, the API server, containerd and the registry"):
        for part in control_plane(facts.node_address)[:4]:
            machine.launch(init, part.name, part.command)
        _wait(layout, init, "containerd", 20, lambda: _answers(init, components.ctr("version")))
    _prepare_images(layout, progress, init)
    with connected(layout, facts) as api:
        with progress.step("wait for the API server"):
            _wait(layout, init, "kube-apiserver", 60, api.ready)
        with progress.step("start the controllers, the scheduler and the node"):
            for part in control_plane(facts.node_address)[4:]:
                if part is components.VOLUMES:
                    continue
                machine.launch(init, part.name, part.command)
            _apply(api, [*addons.proxy_access(), *addons.dns(), *addons.storage()])
            authority = (layout.pki / "ca.crt").read_bytes()
            _apply(api, addons.metrics(facts.node_address, authority))
            machine.launch(init, components.VOLUMES.name, components.VOLUMES.command)
        with progress.step(f"wait for {NODE} to be ready"):
            _wait(layout, init, "kubelet", 60, lambda: _node_is_ready(api))
            _advertise_gpus(api)
        with progress.step("wait for DNS"):
            _check_dns(layout, init)
        # Discovery fails in part while it is missing, and no namespace is deleted.
        with progress.step("wait for metrics-server"):
            _wait(layout, init, "metrics-server", 60, lambda: _metrics_are_served(api))
    facts = replace(facts, complete=True)
    _write_facts(layout, facts)
    progress.line(f"the cluster is up, {time.monotonic() - began:.1f} s after its first process")
    return facts


def _keep_up(layout: Layout, progress: Progress, init: int, facts: Facts) -> None:
    """Starts again what has died in a cluster that is up: what runs on it is not ours to end."""
    dead = set(missing_components(init))
    for part in control_plane(facts.node_address):
        if part.name in dead:
            progress.line(f"{part.name} had ended: starting it again")
            machine.launch(init, part.name, part.command)
    with connected(layout, facts) as api:
        if dead or not _is_ready(api):
            with progress.step(f"wait for {NODE} to be ready"):
                _wait(layout, init, "kube-apiserver", 60, lambda: _is_ready(api))
        _advertise_gpus(api)
    progress.line(f"already up since {_clock(facts.since)}")
    if Path(facts.binaries) != build.target():
        progress.line("its sources have changed since: `make cluster-down` first to use them")


@contextlib.contextmanager
def connected(layout: Layout, facts: Facts) -> Iterator[Api]:
    api = connect(layout, facts)
    try:
        yield api
    finally:
        api.close()


def _is_healthy(layout: Layout, init: int, facts: Facts) -> bool:
    if missing_components(init):
        return False
    try:
        with connected(layout, facts) as api:
            return _is_ready(api)
    except OSError:
        # Its certificates are gone.
        return False


def _is_ready(api: Api) -> bool:
    try:
        return _node_is_ready(api)
    except (ClusterError, OSError, http.client.HTTPException):
        return False


def _write_facts(layout: Layout, facts: Facts) -> None:
    layout.facts.write_text(json.dumps(asdict(facts), indent=2) + "\n")


def _prepare(layout: Layout, progress: Progress, binaries: Path, tools: Path) -> Facts:
    with progress.step("certificates and configuration"):
        subnet = network.choose_subnet(layout.identifier, network.networks_in_use())
        pair = Pair.of(subnet)
        certificates.create(
            layout.pki,
            certificates.identities(NODE, pair.node, configuration.api_addresses(pair.node)),
        )
        _write_configuration(layout, pair.node, cgroups.create(layout.cgroup))
        facts = Facts(
            node_address=pair.node,
            host_address=pair.host,
            interface=layout.interface,
            binaries=str(binaries),
            packages=str(tools),
            since=time.time(),
        )
        _write_facts(layout, facts)
        _link_commands(layout, binaries)
    return facts


def _write_configuration(layout: Layout, address: str, cgroup_version: int) -> None:
    config = layout.config
    for folder in ("cni", "registries/localhost"):
        (config / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("registry", "containerd", "volumes"):
        (layout.state / folder).mkdir(exist_ok=True)
    documents = {
        "cni/10-pods.conflist": configuration.cni(),
        "audit-policy.json": configuration.audit_policy(),
        "kubelet.json": configuration.kubelet(layout.cgroup, cgroup_version),
        "proxy.json": configuration.proxy(),
        "registry.json": configuration.registry(),
        "volumes.json": addons.volume_settings(),
        "kwok-timed.json": addons.timed_stage(),
        "volume-helper-pod.json": addons.volume_helper_pod(),
    }
    clients = ("controller-manager", "scheduler", "kubelet", "proxy", "volumes", "kwok", "metrics")
    for identity in clients:
        documents[f"{identity}.kubeconfig"] = configuration.component_kubeconfig(identity)
    for name, document in documents.items():
        (config / name).write_text(json.dumps(document, indent=1) + "\n")
    (config / "containerd.toml").write_text(configuration.containerd())
    (config / "registries/localhost/hosts.toml").write_text(configuration.registry_hosts())
    (config / "masquerade.nft").write_text(configuration.masquerade())
    # Pods with dnsPolicy Default: the host's own resolver may not be reachable from the cluster.
    (config / "resolv.conf").write_text("# no resolver outside of the cluster\n")
    credentials = configuration.Credentials(
        *((layout.pki / name).read_bytes() for name in ("ca.crt", "admin.crt", "admin.key"))
    )
    document = configuration.user_kubeconfig(address, credentials)
    layout.kubeconfig.touch(mode=0o600)
    layout.kubeconfig.chmod(0o600)
    layout.kubeconfig.write_text(json.dumps(document, indent=1) + "\n")


def _link_commands(layout: Layout, binaries: Path) -> None:
    layout.bin.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        link = layout.bin / name
        link.unlink(missing_ok=True)
        link.symlink_to(binaries / name)


def _start_machine(layout: Layout, progress: Progress, facts: Facts) -> int:
    with progress.step(f"namespaces and network ({facts.node_address})"):
        init = machine.start(layout, Path(facts.binaries), Path(facts.packages), NODE)
        network.connect(facts.interface, init, Pair(facts.host_address, facts.node_address))
        machine.run(init, ["nft", "-f", f"{INSIDE}/config/masquerade.nft"])
        machine.run(init, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    return init


def _prepare_images(layout: Layout, progress: Progress, init: int) -> None:
    """Forgets the containers of an earlier run and images that were pushed over; imports the
    cluster's own images."""
    if old := machine.run(init, components.ctr("containers", "list", "-q")).split():
        with progress.step(f"forget {len(old)} containers of the last run"):
            machine.run(init, components.ctr("containers", "delete", *old))
            # Its CRI part has read them at its start.
            for process in machine.processes(init):
                if process.name == "containerd":
                    machine.kill(process.pid)
            part = components.CONTAINERD_SERVICE
            machine.launch(init, part.name, part.command)
            answers = components.ctr("version")
            _wait(layout, init, "containerd", 20, lambda: _answers(init, answers))
    listed = machine.run(init, components.ctr("images", "list"))
    if stale := images.stale(listed):
        machine.run(init, components.ctr("images", "delete", *stale))
    present = {line.split()[0] for line in listed.splitlines()[1:]}
    missing = {name: image for name, image in build.IMAGES.items() if image not in present}
    if missing:
        with progress.step("import the cluster's own images"):
            for name in missing:
                archive = f"{INSIDE_BINARIES}/{name}.tar"
                machine.run(init, components.ctr("images", "import", archive))


def _apply(api: Api, manifests: Iterable[addons.Manifest]) -> None:
    for manifest in manifests:
        api.apply(manifest.path, manifest.body)


def _answers(init: int, command: list[str]) -> bool:
    try:
        machine.run(init, command)
    except ClusterError:
        return False
    return True


def _node_is_ready(api: Api) -> bool:
    try:
        return _has(api.get(f"/api/v1/nodes/{NODE}"), "Ready")
    except ApiError as error:
        if error.status == 404:
            return False
        raise


def _has(item: dict[str, Any], condition: str) -> bool:
    """Whether a condition of an object is true."""
    return any(
        found["type"] == condition and found["status"] == "True"
        for found in item.get("status", {}).get("conditions", [])
    )


def _metrics_are_served(api: Api) -> bool:
    service = api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{addons.METRICS_API}")
    return _has(service, "Available")


def _advertise_gpus(api: Api) -> None:
    """The documented way to advertise an extended resource. The kubelet leaves it in place, but
    may set it to zero when it is started again."""
    path = f"/api/v1/nodes/{NODE}/status"
    amount = {"nvidia.com/gpu": str(GPUS)}
    status = api.get(f"/api/v1/nodes/{NODE}")["status"]
    if any(status[kind].get("nvidia.com/gpu") != str(GPUS) for kind in ("capacity", "allocatable")):
        api.merge(path, {"status": {"capacity": amount, "allocatable": amount}})


def _check_dns(layout: Layout, init: int, seconds: float = 40) -> None:
    name = "kubernetes.default.svc.cluster.local"
    # Only its network: the interpreter may lie where the cluster's own mounts hide it.
    question = [dns.__file__, DNS_SERVICE, name, str(seconds)]
    asked = subprocess.run(
        ["nsenter", "-t", str(init), "-n", sys.executable, *question], check=False
    )
    if asked.returncode:
        raise ClusterError(
            f"DNS did not resolve {name} within {seconds:.0f} s",
            log=layout.log / "kubelet.log",
            advice=f"Look at its pod: KUBECONFIG={layout.kubeconfig} {layout.bin}/kubectl "
            "-n kube-system describe pod -l k8s-app=kube-dns",
        )


def _wait(
    layout: Layout, init: int, name: str, seconds: float, condition: Callable[[], bool]
) -> None:
    """Waits for a component, but not for one that has died."""
    log = layout.log / f"{name}.log"
    deadline = time.monotonic() + seconds
    # For a moment after its launch it is still the program that launches it.
    seen, by = False, time.monotonic() + LAUNCH_SECONDS
    while not condition():
        alive = {process.name for process in machine.processes(init)}
        seen = seen or name in alive
        if name not in alive and (seen or time.monotonic() >= by):
            raise ClusterError(f"{name} ended at its start", log=log, advice=_after_failure(layout))
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{name} was not ready within {seconds:.0f} s", log=log,
                advice=_after_failure(layout),
            )  # fmt: skip
        time.sleep(0.1)


def _after_failure(layout: Layout) -> str:
    return f"All logs are in {layout.log}. `make cluster-down` removes what was started."


# --- down -------------------------------------------------------------------------------------


def stop(layout: Layout, progress: Progress) -> None:
    """Ends every process and removes all that the cluster made on the host outside of its files."""
    with progress.step("end every process of the cluster") as step:
        init = machine.find_init(layout)
        members = cgroups.processes(layout.cgroup)
        if init is not None:
            members |= machine.members(init)
        step.detail = f"{len(members)} processes"
        if init is not None:
            machine.kill(init)
        for pid in members:
            machine.kill(pid)
        machine.wait_gone(members, 10)
    with progress.step("remove its network interface and cgroups"):
        network.disconnect(layout.interface)
        cgroups.remove(layout.cgroup)


def down(layout: Layout, progress: Progress, purge: bool) -> None:
    """Stops the cluster and checks that nothing is left of it. Raises ClusterError otherwise."""
    stop(layout, progress)
    left = leftovers(layout)
    if left:
        raise ClusterError(
            "this could not be removed:\n" + "\n".join(f"    {item}" for item in left),
            advice="Run it again; if that does not help, a restart of the host will.",
        )
    with progress.step("remove its files" if purge else "remove its state, keep its images"):
        if purge:
            shutil.rmtree(layout.state, ignore_errors=True)
        else:
            _forget_state(layout, keep_logs=True)
    progress.line("down: no process, mount, interface or cgroup of the cluster is left")


def leftovers(layout: Layout) -> list[str]:
    """What is still on the host of a cluster that should be gone."""
    found = []
    for pid in machine.all_pids():
        command = machine.command_of(pid)
        if command and str(layout.state) in command[1:] and pid != os.getpid():
            name = os.path.basename(command[0])
            if name in ("pause", "unshare"):
                found.append(f"process {pid}: {name}")
    found += [
        f"process {pid} in cgroup {layout.cgroup}" for pid in cgroups.processes(layout.cgroup)
    ]
    found += [f"mount {path}" for path in _mounts_below(layout.state)]
    if network.exists(layout.interface):
        found.append(f"network interface {layout.interface}")
    found += [f"cgroup {group}" for group in cgroups.tops(layout.cgroup)]
    return found


def _mounts_below(folder: Path) -> list[str]:
    mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [path for path in mounts if Path(path).is_relative_to(folder) and path != str(folder)]


def _forget_state(layout: Layout, keep_logs: bool = False) -> None:
    """Deletes the files of a run; images and, if asked, logs stay."""
    if mounted := _mounts_below(layout.state):
        # Deleting through a mount would delete what is behind it.
        raise ClusterError(f"{', '.join(mounted)} is mounted", advice="Unmount it first.")
    kept = {layout.state / "registry", layout.state / "containerd", layout.state / "lock"}
    if keep_logs:
        kept.add(layout.log)
    for path in layout.state.iterdir():
        if path in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


# --- nodes, status ------------------------------------------------------------------------------


def set_fake_nodes(layout: Layout, progress: Progress, wanted: int) -> None:
    """Makes kwok play exactly `wanted` nodes."""
    init, facts = running(layout)
    with connected(layout, facts) as api:
        names = sorted(item["metadata"]["name"] for item in api.get(FAKE_NODES)["items"])
        alive = {process.name: process.pid for process in machine.processes(init)}
        if wanted and "kwok" not in alive:
            machine.launch(init, components.KWOK.name, components.KWOK.command)
        with progress.step(f"{wanted} kwok nodes (there were {len(names)})") as step:
            for name in names[wanted:]:
                api.request("DELETE", f"/api/v1/nodes/{name}")
            numbers = (number for number in range(wanted) if _fake_name(number) not in names)
            for number in numbers:
                step.detail = _fake_name(number)
                api.request("POST", "/api/v1/nodes", addons.fake_node(number))
            _wait(
                layout, init, "kwok", 120, lambda: _ready_fakes(api) >= wanted
            ) if wanted else None
            step.detail = ""
        if not wanted and "kwok" in alive:
            machine.kill(alive["kwok"])


def _fake_name(number: int) -> str:
    name: str = addons.fake_node(number)["metadata"]["name"]
    return name


def _ready_fakes(api: Api) -> int:
    return sum(_has(node, "Ready") for node in api.get(FAKE_NODES)["items"])


def status(layout: Layout) -> dict[str, Any]:
    """What runs, where, since when."""
    init, facts = machine.find_init(layout), read_facts(layout)
    if init is None or facts is None:
        return {"up": False, "left": leftovers(layout)}
    found: dict[str, Any] = {
        "up": True,
        "healthy": _is_healthy(layout, init, facts),
        "since": _clock(facts.since),
        "api": f"https://{facts.node_address}:{API_PORT}",
        "registry": f"http://{facts.node_address}:{configuration.REGISTRY_PORT}",
        "kubeconfig": str(layout.kubeconfig),
        "bin": str(layout.bin),
        "logs": str(layout.log),
        "interface": facts.interface,
        "cgroup": layout.cgroup,
        "architecture": platform.machine(),
        "registryAnswers": registry.is_up(facts.node_address),
        "missing": missing_components(init),
    }
    known = {part.process_name for part in (*control_plane(""), components.KWOK)}
    found["processes"] = [
        {"name": process.name, "pid": process.pid, "since": _clock(process.started)}
        for process in machine.processes(init)
        if process.name in known
    ]
    if found["healthy"]:
        with connected(layout, facts) as api:
            items = api.get("/api/v1/nodes")["items"]
            found["nodes"] = len(items)
            found["kwokNodes"] = sum(item["metadata"]["name"] != NODE for item in items)
            found["pods"] = len(api.get("/api/v1/pods")["items"])
    return found


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
