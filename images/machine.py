"""What builds need of the machine they run on: Debian packages, its proxies, its CA bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from progress import BuildError, output


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
