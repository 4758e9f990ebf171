"""The built images hold what they should and nothing of the machine that built them."""

import importlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DEBIAN_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nZGViaWFu\n-----END CERTIFICATE-----\n"
OTHER_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nb3RoZXI=\n-----END CERTIFICATE-----\n"
CLEAN = {
    "usr/bin/python3.13": "",
    "usr/share/ca-certificates/mozilla/a.crt": DEBIAN_CERTIFICATE,
    "etc/ssl/certs/ca-certificates.crt": DEBIAN_CERTIFICATE,
    "etc/apt/sources.list": "deb http://deb.debian.org/debian trixie main\n",
    "etc/resolv.conf": "",
}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "images"))
    return importlib.import_module("check")


def archive(path: Path, *layers: dict[str, str]) -> Path:
    """An image archive as `docker save` and `buildah push docker-archive:` write it."""

    def add(to: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        to.addfile(member, io.BytesIO(content))

    with tarfile.open(path, "w") as image:
        for number, files in enumerate(layers):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as layer:
                for name, content in files.items():
                    add(layer, name, content.encode())
            add(image, f"{number}.tar", buffer.getvalue())
        add(image, "config.json", json.dumps({"config": {}, "rootfs": {}}).encode())
        add(image, "manifest.json", b"[]")
        add(image, "VERSION", b"1.0")
    return path


@pytest.mark.parametrize("name", ["operator", "trainer"])
def test_an_image_is_as_it_should_be(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "images", "check", name],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_clean_archive_is_not_complained_about(check: ModuleType, tmp_path: Path) -> None:
    contents = check.read(["cat", str(archive(tmp_path / "image.tar", CLEAN))])
    assert contents.paths == set(CLEAN)
    assert check.of_paths(contents.paths) == []
    assert check.of_texts(contents.texts) == []


@pytest.mark.parametrize(
    ("path", "content", "complaint"),
    [
        ("etc/pip.conf", "", "setting in a layer: /etc/pip.conf"),
        ("root/.config/uv/uv.toml", "", "setting in a layer"),
        ("root/.cache/uv/a", "", "cache in a layer"),
        ("usr/bin/gcc-14", "", "tool in a layer"),
        ("usr/bin/pip3", "", "tool in a layer"),
        ("opt/lepton/bin/uv", "", "tool in a layer"),
        ("opt/lepton/lib/python3.13/site-packages/pip/__init__.py", "", "tool in a layer"),
        ("run/secrets/ca", "", "left-over of the build"),
        ("tmp/tools/bin/python", "", "left-over of the build"),
        ("var/lib/apt/lists/deb.debian.org_dists_trixie_InRelease", "", "cache in a layer"),
        ("usr/local/share/ca-certificates/own.crt", "", "certificate of the building machine"),
        ("etc/ssl/certs/ca-certificates.crt", OTHER_CERTIFICATE, "1 certificates that Debian"),
        ("etc/apt/sources.list", "deb http://mirror.example/debian trixie", "host mirror.example"),
        ("etc/apt/apt.conf.d/99proxy", 'Acquire::http::Proxy "http://p:1";', "sets a proxy"),
        ("etc/resolv.conf", "nameserver 192.0.2.1\n", "/etc/resolv.conf is the building machine's"),
        ("etc/hostname", "builder\n", "/etc/hostname is the building machine's"),
    ],
)
def test_a_trace_is_found_even_if_a_later_layer_hides_it(
    check: ModuleType, tmp_path: Path, path: str, content: str, complaint: str
) -> None:
    folder, _, name = path.rpartition("/")
    image = archive(tmp_path / "image.tar", CLEAN, {path: content}, {f"{folder}/.wh.{name}": ""})
    contents = check.read(["cat", str(image)])
    found = check.of_paths(contents.paths) + check.of_texts(contents.texts)
    assert [line for line in found if complaint in line], found


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"User": "0"}, "runs as '0', not as 65532:65532"),
        ({"Labels": {}}, "label org.opencontainers.image.revision is missing"),
        ({"Env": []}, "HOME is not /tmp"),
        ({"Env": ["HOME=/tmp", "https_proxy=http://p:1"]}, "names a proxy, an index or"),
        ({"Env": ["HOME=/tmp", "SSL_CERT_FILE=/ca"]}, "names a proxy, an index or"),
    ],
)
def test_a_configuration_that_differs_is_complained_about(
    check: ModuleType, config: dict[str, Any], complaint: str
) -> None:
    good = {
        "User": "65532:65532",
        "Env": ["HOME=/tmp"],
        "Labels": {f"org.opencontainers.image.{label}": "x" for label in check.LABELS},
    }
    assert check.of_config({"config": good}) == []
    found = check.of_config({"config": good | config})
    assert [line for line in found if complaint in line], found


def test_something_that_is_no_image_is_an_error(check: ModuleType, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(Exception, match="no image configuration"):
        check.read(["cat", str(tmp_path / "empty.tar")])


def test_what_the_builder_says_when_it_fails_is_told_and_what_it_leaves_is_removed(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = archive(tmp_path / "image.tar", CLEAN)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    full = (
        "echo layer >$TMPDIR/1; head -c 3000 $0; echo write: no space left on device >&2; exit 125"
    )
    with pytest.raises(Exception, match="write: no space left on device"):
        check.read(["sh", "-c", full, str(image)])
    # Nothing at all, as where the first layer finds no room.
    with pytest.raises(Exception, match="write: no space left on device"):
        check.read(["sh", "-c", full, "/dev/null"])
    assert list(temporary.iterdir()) == []
