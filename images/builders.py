"""The programs that can build an image: buildah, which needs no daemon, and docker."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from machine import install, network
from progress import BuildError, follow, output, step, succeeds

# How long a registry may take to say whether it can be reached.
PULL_SECONDS = 60


@dataclass(frozen=True)
class Build:
    """One image to build from the repository."""

    containerfile: Path
    context: Path
    image: str
    arguments: Mapping[str, str]
    # Certificates that the package clients inside need to reach their indices, if any.
    certificates: Path | None
    log: Path


class Builder(Protocol):
    name: str

    def exists(self, image: str) -> bool: ...
    def pull(self, image: str) -> None: ...
    def load(self, root: Path, image: str) -> None: ...
    def build(self, build: Build) -> None: ...
    def identity(self, image: str) -> str | None: ...
    def remove(self, identity: str) -> None: ...
    def prune(self) -> None: ...
    def size(self, image: str) -> str: ...
    def save(self, image: str) -> list[str]: ...
    def run(self, image: str, command: Sequence[str]) -> str: ...


class Buildah:
    """buildah with chroot isolation: neither a daemon nor an OCI runtime is needed."""

    name = "buildah"

    def __init__(self) -> None:
        self._env = {"BUILDAH_ISOLATION": "chroot", **os.environ}

    def exists(self, image: str) -> bool:
        return self.identity(image) is not None

    def pull(self, image: str) -> None:
        output(["buildah", "pull", "--quiet", image], PULL_SECONDS)

    def load(self, root: Path, image: str) -> None:
        container = output(["buildah", "from", "scratch"]).strip()
        try:
            output(["buildah", "add", "--quiet", container, str(root), "/"])
            output(["buildah", "config", "--cmd", "bash", container])
            output(["buildah", "commit", "--quiet", container, image])
        finally:
            output(["buildah", "rm", container])

    def build(self, build: Build) -> None:
        command = ["buildah", "build", "--layers", "--force-rm", "--network", "host"]
        if build.certificates:
            command += ["--secret", f"id=ca,src={build.certificates}"]
        for name, value in build.arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        command += ["--file", str(build.containerfile), "--tag", build.image, str(build.context)]
        follow(command, build.log, _headline, {**self._env, **network()})

    def identity(self, image: str) -> str | None:
        try:
            return output(
                ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", image]
            ).strip()
        except BuildError as why:
            if "not known" not in str(why):
                raise  # a full disk, say, where it can't even read what it has
            return None

    def remove(self, identity: str) -> None:
        succeeds(["buildah", "rmi", identity], timeout=120)

    def prune(self) -> None:
        output(["buildah", "rmi", "--prune"])

    def size(self, image: str) -> str:
        return output(["buildah", "images", "--format", "{{.Size}}", image]).strip()

    def save(self, image: str) -> list[str]:
        # /dev/stdout, where it is missing, would be made as a file of that name.
        return ["buildah", "push", "--quiet", image, "docker-archive:/proc/self/fd/1"]

    def run(self, image: str, command: Sequence[str]) -> str:
        container = output(["buildah", "from", "--pull-never", image]).strip()
        try:
            return output(["buildah", "run", container, "--", *command], 300, self._env)
        finally:
            output(["buildah", "rm", container])


class Docker:
    name = "docker"

    def exists(self, image: str) -> bool:
        return self.identity(image) is not None

    def pull(self, image: str) -> None:
        output(["docker", "pull", "--quiet", image], PULL_SECONDS)

    def load(self, root: Path, image: str) -> None:
        output(["docker", "import", "--change", 'CMD ["bash"]', str(root), image])

    def build(self, build: Build) -> None:
        command = ["docker", "build", "--progress=plain"]
        if build.certificates:
            command += ["--secret", f"id=ca,src={build.certificates}"]
        for name, value in {**network(), **build.arguments}.items():
            command += ["--build-arg", f"{name}={value}"]
        command += ["--file", str(build.containerfile), "--tag", build.image, str(build.context)]
        follow(command, build.log, _headline, {**os.environ, "DOCKER_BUILDKIT": "1"})

    def identity(self, image: str) -> str | None:
        try:
            return output(["docker", "image", "inspect", "--format", "{{.Id}}", image], 20).strip()
        except BuildError:
            return None

    def remove(self, identity: str) -> None:
        succeeds(["docker", "image", "rm", identity], timeout=120)

    def prune(self) -> None:
        output(["docker", "image", "prune", "--force"])

    def size(self, image: str) -> str:
        size = output(["docker", "image", "inspect", "--format", "{{.Size}}", image])
        return f"{int(size) / 1e6:,.0f} MB"

    def save(self, image: str) -> list[str]:
        return ["docker", "save", image]

    def run(self, image: str, command: Sequence[str]) -> str:
        run = ["docker", "run", "--rm", "--read-only", "--tmpfs=/tmp"]
        return output(
            [*run, "--network=none", "--entrypoint", command[0], image, *command[1:]], 300
        )


def _headline(line: str) -> str | None:
    """The steps of a build, as either builder prints them, cut to a screen's width."""
    found = re.match(r"(?:#\d+ )?\[([^\]]+)\] (?:STEP )?([\d/]*:? ?[A-Z]+ .*)", line)
    return f"[{found[1]}] {' '.join(found[2].split())}"[:100] if found else None


def docker_works() -> bool:
    """The client alone builds nothing: it takes a daemon that answers, and BuildKit's client."""
    return (
        shutil.which("docker") is not None
        and succeeds(["docker", "buildx", "version"])
        and succeeds(["docker", "info"])
    )


def choose(name: str | None) -> Builder:
    """The builder asked for, else the one that is there, else buildah, installed from Debian."""
    if name == "docker":
        if not docker_works():
            raise BuildError("docker was asked for, but its daemon or buildx does not answer")
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    if name is None and docker_works():
        return Docker()
    with step("installing buildah"):
        install("buildah")
    return Buildah()
