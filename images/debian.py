"""The base image, and the Debian packages that the building machine needs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from progress import BuildError, output, say, step

if TYPE_CHECKING:
    from builders import Builder

BASE = "docker.io/library/debian:trixie-slim"
SUITE = "trixie"
# What the public slim image leaves out, too.
LEFT_OUT = ("doc/*", "info/*", "locale/*", "man/*")
# mmdebstrap copies these two from the building machine.
OF_THE_MACHINE = ("etc/hostname", "etc/resolv.conf")


def install(*packages: str) -> None:
    """Installs Debian packages on this machine; raises BuildError where that can't be done."""
    wanted = " ".join(packages)
    if not shutil.which("apt-get"):
        raise BuildError(
            f"install buildah or docker: this machine has no apt-get to get {wanted} by"
        )
    if os.geteuid() != 0:
        raise BuildError(f"not root: run `sudo apt-get install {wanted}` and try again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]
    # Another installation may be under way.
    command += ["-o", "DPkg::Lock::Timeout=300", *packages]
    try:
        output(command, env=environment)
    except BuildError:
        output(["apt-get", "update", "-q"], env=environment)
        output(command, env=environment)


def network() -> dict[str, str]:
    """The proxies of this machine's environment and of its apt, for builds; no image keeps them."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    found = {name: os.environ.get(name) or os.environ.get(name.upper(), "") for name in names}
    if not found["http_proxy"] and shutil.which("apt-config"):
        dump = output(["apt-config", "--format", "%v%n", "dump", "Acquire::http::Proxy"]).strip()
        found["http_proxy"] = "" if dump == "DIRECT" else dump
    return {name: value for name, value in found.items() if value}


def certificates() -> Path | None:
    """The CA bundle by which this machine's own clients reach package indices."""
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if os.environ.get(name):
            return Path(os.environ[name])
    for place in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if Path(place).exists():
            return Path(place)
    return None


def provide_base(builder: Builder, refresh: bool) -> None:
    """Makes sure that the base image is there: pulled, or else made from Debian's packages."""
    if builder.exists(BASE) and not refresh:
        say(f"  {BASE} is there")
        return
    try:
        with step(f"pulling {BASE}"):
            builder.pull(BASE)
        return
    except BuildError as why:
        say(f"  no registry to pull from ({str(why).splitlines()[-1][-120:]}): making it")
    missing = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if missing:
        with step(f"installing {' and '.join(missing)}"):
            install(*missing)
    with tempfile.TemporaryDirectory(prefix="lepton-base-") as folder:
        root = Path(folder, "debian.tar")
        with step(f"making {BASE} from Debian's packages"):
            output(_mmdebstrap(root), env={**os.environ, **network()})
            builder.load(root, BASE)


def _mmdebstrap(root: Path) -> list[str]:
    command = ["mmdebstrap", "--quiet", "--variant=minbase"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{path}" for path in LEFT_OUT]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    for path in OF_THE_MACHINE:
        command += [f'--customize-hook=rm -f "$1/{path}"']
    command += ['--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/log/*']
    return [*command, SUITE, str(root)]
