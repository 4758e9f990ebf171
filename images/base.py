"""The base image: Debian, pulled, or else made from its packages."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from builders import Builder
from machine import install, network
from progress import BuildError, output, say, step

BASE = "docker.io/library/debian:trixie-slim"
SUITE = "trixie"
# What the public slim image leaves out, too.
LEFT_OUT = ("doc/*", "info/*", "locale/*", "man/*")
# mmdebstrap copies these two from the building machine.
OF_THE_MACHINE = ("etc/hostname", "etc/resolv.conf")


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
