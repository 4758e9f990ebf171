"""The images that are made without a container tool."""

import hashlib
import io
import json
import tarfile
from typing import Any

from lepton_cluster.images import archive, stale

NAME = "localhost/lepton-cluster/pause:1"


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        opened = {entry.name: found.extractfile(entry) for entry in found.getmembers()}
        return {name: file.read() for name, file in opened.items() if file is not None}


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """What a descriptor refers to, checked against its digest and size."""
    algorithm, _, digest = descriptor["digest"].partition(":")
    data = files[f"blobs/{algorithm}/{digest}"]
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == descriptor["size"]
    return data


def test_every_digest_leads_to_its_blob_and_at_the_end_lies_the_binary() -> None:
    files = members(archive(NAME, b"binary", "/pause", "x86_64"))
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["annotations"] == {"io.containerd.image.name": NAME}
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    assert config["architecture"] == "amd64"
    assert config["config"]["Entrypoint"] == ["/pause"]
    layer = blob(files, manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    with tarfile.open(fileobj=io.BytesIO(layer)) as found:
        assert found.getmember("pause").mode == 0o755
    assert members(layer) == {"pause": b"binary"}


def test_the_same_binary_makes_the_same_image() -> None:
    assert archive(NAME, b"x", "/pause", "x86_64") == archive(NAME, b"x", "/pause", "x86_64")


LISTED = """\
REF TYPE DIGEST SIZE PLATFORMS LABELS
localhost/lepton/trainer:dev type sha256:new 2.7 MiB linux/amd64 -
localhost/lepton/trainer@sha256:new type sha256:new 2.7 MiB linux/amd64 -
localhost/lepton/trainer@sha256:old type sha256:old 2.7 MiB linux/amd64 -
sha256:aaaa type sha256:new 2.7 MiB linux/amd64 -
sha256:bbbb type sha256:old 2.7 MiB linux/amd64 -
"""


def test_an_image_that_was_pushed_over_is_forgotten() -> None:
    assert stale(LISTED) == ["localhost/lepton/trainer@sha256:old", "sha256:bbbb"]


def test_of_an_empty_store_nothing_is_forgotten() -> None:
    assert stale("REF TYPE DIGEST SIZE PLATFORMS LABELS\n") == []
