"""Images of one static binary each, written as OCI archives without any container tool."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

# Go's names of architectures, by Python's (platform.machine()).
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    """An archive whose bytes depend on nothing but the files: no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def archive(name: str, binary: bytes, entry_point: str, machine: str) -> bytes:
    """An OCI image layout (image-spec v1.1) that `ctr images import` stores under `name`.

    `entry_point` is where the binary lies in the image, `machine` is platform.machine().
    """
    layer = _tar({entry_point.lstrip("/"): (binary, 0o755)})
    platform = {"architecture": ARCHITECTURES.get(machine, machine), "os": "linux"}
    config = _json(
        {
            **platform,
            "config": {"Entrypoint": [entry_point]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    entry = {
        **_descriptor(MANIFEST, manifest),
        "annotations": {"io.containerd.image.name": name},
        "platform": platform,
    }
    index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    blobs = {
        f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": (blob, 0o644)
        for blob in (layer, config, manifest)
    }
    layout = _json({"imageLayoutVersion": "1.0.0"})
    return _tar({"oci-layout": (layout, 0o644), "index.json": (index, 0o644), **blobs})


def stale(listed: str) -> list[str]:
    """The references that no tag leads to any more, in what `ctr images list` prints.

    containerd keeps each image under its tag, its digest and its identifier. A new image takes the
    tag and leaves the other two to its predecessor.
    """
    rows = [line.split() for line in listed.splitlines()[1:]]
    digests = {row[0]: row[2] for row in rows if len(row) > 2}
    tagged = {
        digest
        for reference, digest in digests.items()
        if "@" not in reference and not reference.startswith("sha256:")
    }
    return [reference for reference, digest in digests.items() if digest not in tagged]


def write(target: Path, name: str, binary: Path, entry_point: str, machine: str) -> None:
    target.write_bytes(archive(name, binary.read_bytes(), entry_point, machine))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
