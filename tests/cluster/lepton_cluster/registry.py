"""Pushing images from the host's builder into the cluster's registry, and onto the node."""

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from . import components, machine
from .configuration import REGISTRY_PORT
from .errors import ClusterError
from .layout import Layout
from .packages import find
from .progress import Progress

PREFIX = "localhost/"
# Far more than a trainer image takes (90 s on two cores).
PULL_SECONDS = 900


def repository(image: str) -> str:
    """The name in the registry of an image called `localhost/…`, with its tag.

    >>> repository("localhost/lepton/trainer:dev")
    'lepton/trainer:dev'
    """
    name = image.removeprefix(PREFIX)
    if name == image or not name or "@" in name:
        raise ClusterError(
            f"{image!r} cannot be pushed: the cluster's registry holds names such as "
            f"{PREFIX}lepton/trainer:dev",
            advice=f"Tag it first: buildah tag {image} {PREFIX}{image.rpartition('/')[2]}",
        )
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def push(layout: Layout, progress: Progress, init: int, address: str, image: str) -> str:
    """Copies `image` from buildah's or docker's storage; pods find it under the same name.

    Returns the image by digest, which changes whenever the image does.
    """
    name = repository(image)
    tool = _tool_that_has(image)
    with progress.step(f"push {image} ({tool})"):
        if tool == "buildah":
            _push_with_buildah(image, f"{address}:{REGISTRY_PORT}", name)
        else:
            _push_with_docker(layout, image, address, name)
    with progress.step(f"unpack {image} on the node"):
        machine.run(init, components.pull(PREFIX + name), timeout=PULL_SECONDS)
    plain, _, tag = name.rpartition(":")
    return f"{PREFIX}{plain}@{_digest(address, plain, tag)}"


def _digest(address: str, name: str, tag: str) -> str:
    kinds = ("oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.v2")
    request = Request(
        f"http://{address}:{REGISTRY_PORT}/v2/{name}/manifests/{tag}",
        headers={"Accept": ", ".join(f"application/vnd.{kind}+json" for kind in kinds)},
        method="HEAD",
    )
    with build_opener(ProxyHandler({})).open(request, timeout=10) as response:
        return str(response.headers["Docker-Content-Digest"])


def is_up(address: str) -> bool:
    request = Request(f"http://{address}:{REGISTRY_PORT}/v2/")
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=2) as response:
            return bool(response.status == 200)
    except (HTTPError, URLError, OSError):
        return False


def _tool_that_has(image: str) -> str:
    asked = {
        "buildah": ["buildah", "inspect", "--type", "image", image],
        "docker": ["docker", "image", "inspect", image],
    }
    present = [tool for tool in asked if find(tool)]
    for tool in present:
        if subprocess.run(asked[tool], capture_output=True, check=False).returncode == 0:
            return tool
    raise ClusterError(
        f"there is no image {image} on this machine"
        + (f" ({' and '.join(present)} were asked)" if present else " (no buildah, no docker)"),
        advice="Build it first: make images",
    )


def _push_with_buildah(image: str, server: str, name: str) -> None:
    # It copies each layer to the disk first, and leaves what it has when it fails.
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        _check(
            [
                "buildah", "push", "--quiet", "--tls-verify=false", "--format=oci",
                # Several times as fast as gzip at the same size.
                "--compression-format=zstd",
                image, f"docker://{server}/{name}",
            ],
            TMPDIR=folder,
        )  # fmt: skip


def _push_with_docker(layout: Layout, image: str, address: str, name: str) -> None:
    # Docker accepts plain HTTP on loopback alone.
    with _forwarded(layout, address) as port:
        alias = f"127.0.0.1:{port}/{name}"
        _check(["docker", "tag", image, alias])
        try:
            _check(["docker", "push", "--quiet", alias])
        finally:
            subprocess.run(["docker", "rmi", alias], capture_output=True, check=False)


def _check(command: list[str], **settings: str) -> None:
    # The registry is next door, whatever proxy the host's user has.
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"} | settings
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()[-1500:]}")


@contextlib.contextmanager
def _forwarded(layout: Layout, address: str) -> Iterator[int]:
    """Forwards a loopback port to the cluster's registry for the time of a push.

    Docker remembers by host and port which layers a registry has: the port is the same each time,
    if it is free.
    """
    preferred = 20000 + int(layout.identifier, 16) % 10000
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", preferred))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen()
    threading.Thread(target=_accept, args=(listener, address), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def _accept(listener: socket.socket, address: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
            server = socket.create_connection((address, REGISTRY_PORT))
        except OSError:
            return
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
