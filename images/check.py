"""What must not be in an image: every layer is read, also what a later layer hides."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any, cast

from builders import Builder
from progress import BuildError

USER = "65532:65532"
LABELS = ("title", "description", "version", "revision", "licenses")
DEBIAN_HOSTS = {"deb.debian.org", "security.debian.org"}

# Paths, without a leading slash, that no layer may hold; each with the reason that is reported.
FORBIDDEN = {
    r"(usr/)?s?bin/(gcc|g\+\+|cc|c\+\+|cpp|clang|make|cmake|ld|as|git)(-[\d.]+)?": "tool",
    r".*bin/(pip[\d.]*|uvx?|hatch(ling)?)": "tool",
    r".*/site-packages/(pip|uv|hatchling|virtualenv)/.*": "tool",
    r"(etc/pip\.conf|etc/uv/.*|etc/xdg/.*|(root|tmp|home/[^/]+)/\.(config|pip)/.*)": "setting",
    r"(root|tmp|home/[^/]+)/\.cache(/.*)?": "cache",
    r"(root|tmp)/\.(bash_history|netrc|ssh/.*|gnupg/.*)": "personal file",
    r"(tmp|var/tmp|run/secrets|wheels|src)/.+": "left-over of the build",
    r"var/(lib/apt/lists|cache/apt/archives)/.*(Release|Packages|\.deb).*": "cache",
    r"usr/local/share/ca-certificates/.+": "certificate of the building machine",
}
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
# Files whose contents are judged.
READ = re.compile(
    rf"{BUNDLE}|usr/share/ca-certificates/.*\.crt|etc/ssl/certs/[^/]*\.(crt|pem)"
    r"|etc/(hostname|resolv\.conf|environment|passwd|apt/(apt\.conf|sources\.list|preferences).*)"
)

# Run inside the image as its own user: where that user may write, and whether the code starts.
PROBE = """
import importlib.metadata, json, os, sys
assert os.getuid() == 65532, os.getuid()
writable = []
for folder, names, _ in os.walk('/'):
    if folder == '/':
        names[:] = [name for name in names if name not in ('proc', 'sys', 'dev')]
    if os.access(folder, os.W_OK):
        writable.append(folder)
import lepton.spec
{imports}
print(json.dumps(dict(writable=writable, bytecode=os.path.exists(lepton.__cached__),
    version=importlib.metadata.version('lepton-training'))))
"""
IMPORTS = {
    "operator": "import kopf, lepton_operator.api.spec",
    "trainer": "import torch, gymnasium, lepton_operator.api.spec; assert torch.version.cuda",
}
# World-writable in every Debian; a read-only root file system takes all but /tmp away.
WRITABLE = {"/tmp", "/run/lock", "/var/tmp"}


@dataclass
class Contents:
    """What was found in an image's archive."""

    config: dict[str, Any] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    texts: list[tuple[str, str]] = field(default_factory=list)


def complaints(builder: Builder, image: str, name: str) -> list[str]:
    contents = read(builder.save(image))
    return [
        *of_config(contents.config),
        *of_paths(contents.paths),
        *of_texts(contents.texts),
        *of_run(builder, image, name, contents),
    ]


def read(command: list[str]) -> Contents:
    """Reads an image archive as it streams out of the builder.

    buildah copies each layer to the disk first, and leaves what it has when it fails (1.28 does):
    that goes into a folder which is removed. Raises BuildError with what the builder says.
    """
    contents = Contents()
    unreadable: tarfile.TarError | None = None
    # Where buildah puts such files itself: /tmp may be in memory.
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": folder},
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is not None:
                        _read_part(file, contents)
        except tarfile.TarError as why:
            unreadable = why
        # Or else its own end would be a broken pipe.
        while process.stdout.read(1 << 20):
            pass
        said = process.stderr.read().decode(errors="replace").strip()[-2000:]
    if process.returncode:
        raise BuildError(f"{' '.join(command)}: {said or f'exit code {process.returncode}'}")
    if unreadable is not None:
        raise BuildError(f"{' '.join(command)}: {unreadable}")
    if not contents.config or not contents.paths:
        raise BuildError(f"{' '.join(command)}: no image configuration and layers in its output")
    return contents


def _read_part(file: IO[bytes], contents: Contents) -> None:
    """One part of an archive: a layer, or one of the JSON files that describe it."""
    start = cast(io.BufferedReader, file).peek(1)[:1]
    if start in (b"{", b"["):
        part = json.load(file)
        if isinstance(part, dict) and "rootfs" in part:
            contents.config = part
        return
    try:
        with tarfile.open(fileobj=file, mode="r|*") as layer:
            for member in layer:
                path = member.name.removeprefix("./")
                if not member.isdir():
                    contents.paths.add(path)
                if member.isreg() and READ.fullmatch(path):
                    text = layer.extractfile(member)
                    assert text is not None
                    contents.texts.append((path, text.read().decode(errors="replace")))
    except tarfile.ReadError:
        return  # a version number or the like, not a layer


def of_config(config: dict[str, Any]) -> list[str]:
    runs = config.get("config", {})
    labels = runs.get("Labels") or {}
    found = [
        f"label org.opencontainers.image.{label} is missing"
        for label in LABELS
        if labels.get(f"org.opencontainers.image.{label}") in (None, "", "0", "unknown")
    ]
    if runs.get("User") != USER:
        found.append(f"runs as {runs.get('User')!r}, not as {USER}")
    if "HOME=/tmp" not in runs.get("Env", []):
        found.append("HOME is not /tmp")
    found += [
        f"the environment names a proxy, an index or a certificate: {variable}"
        for variable in runs.get("Env", [])
        if re.match(r"(?i).*(_proxy|index_url|find_links|cert)", variable)
    ]
    return found


def of_paths(paths: set[str]) -> list[str]:
    found = []
    for pattern, reason in FORBIDDEN.items():
        matches = re.compile(pattern).fullmatch
        found += [f"{reason} in a layer: /{path}" for path in sorted(paths) if matches(path)]
    return found


def of_texts(texts: list[tuple[str, str]]) -> list[str]:
    found = []
    debian = _certificates(
        text for path, text in texts if path.startswith("usr/share/ca-certificates/")
    )
    for path, text in texts:
        if path.startswith("etc/ssl/certs/"):
            strange = len(_certificates([text]) - debian)
            if strange:
                found.append(f"{strange} certificates that Debian does not ship in /{path}")
        if path.startswith("etc/apt/"):
            hosts = set(re.findall(r"\w+://(?:[^@/\s]*@)?([^/:\s\"]+)", text)) - DEBIAN_HOSTS
            found += [f"/{path} names the host {host}" for host in sorted(hosts)]
            if re.search(r"Acquire::.*Proxy", text, re.IGNORECASE):
                found.append(f"/{path} sets a proxy")
        if path in ("etc/hostname", "etc/resolv.conf") and text.strip():
            found.append(f"/{path} is the building machine's")
        if path == "etc/environment" and "proxy" in text.lower():
            found.append("/etc/environment sets a proxy")
    return found


def _certificates(texts: Iterable[str]) -> set[str]:
    pattern = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
    return {"".join(body.split()) for text in texts for body in pattern.findall(text)}


def of_run(builder: Builder, image: str, name: str, contents: Contents) -> list[str]:
    try:
        said = builder.run(image, ["python", "-c", PROBE.format(imports=IMPORTS[name])])
    except BuildError as why:
        return [f"does not run: {why}"]
    facts = json.loads(said.strip().splitlines()[-1])
    found = [f"its user may write to {path}" for path in set(facts["writable"]) - WRITABLE]
    labelled = (contents.config["config"].get("Labels") or {}).get(
        "org.opencontainers.image.version"
    )
    if facts["version"] != labelled:
        found.append(f"lepton-training is {facts['version']}, the image says {labelled}")
    if not facts["bytecode"]:
        found.append("the code is not compiled: every start compiles it again")
    return found
