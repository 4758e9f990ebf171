"""The room on the disk that the make targets need, told before they begin."""

from pathlib import Path

import pytest

import room
from room import Disk, Need, shortage
from steps import StepError

CHECKOUT, STORAGE, TEMPORARY = Path("/work/.cluster"), Path("/var/lib/images"), Path("/var/tmp")
NEEDS = (
    Need(CHECKOUT, "pushed", 9.0),
    Need(STORAGE, "built", 6.0, 4.0),
    Need(TEMPORARY, "copies", 0.0, 5.0),
)


def test_what_stays_on_one_disk_adds_up_and_of_what_comes_and_goes_the_largest_counts():
    one = dict.fromkeys((CHECKOUT, STORAGE, TEMPORARY), Disk(1, 20.0))
    assert shortage(NEEDS, one) is None
    short = shortage(NEEDS, dict.fromkeys(one, Disk(1, 19.9)))
    assert short is not None
    assert short.startswith("20.0 GiB of disk are needed where 19.9 are free:")
    assert "  9.0 GiB  /work/.cluster (pushed)" in short
    assert "  6.0 GiB and 4.0 for a time  /var/lib/images (built)" in short
    assert len(short.splitlines()) == 4


def test_each_disk_has_to_have_room_for_what_is_its_own():
    disks = {CHECKOUT: Disk(1, 9.0), STORAGE: Disk(2, 9.0), TEMPORARY: Disk(1, 13.0)}
    short = shortage(NEEDS, disks)
    assert short is not None
    assert "14.0 GiB of disk are needed where" in short
    assert "10.0 GiB of disk are needed where 9.0 are free:" in short
    roomy = {CHECKOUT: Disk(1, 14.0), STORAGE: Disk(2, 10.0), TEMPORARY: Disk(1, 14.0)}
    assert shortage(NEEDS, roomy) is None
    assert shortage((), {}) is None


def test_what_is_there_is_not_needed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "caches"))
    monkeypatch.setattr(room, "ROOT", tmp_path)

    def folders() -> list[Path]:
        return [need.folder for need in room.missing(cluster=False, tests=False)]

    assert folders() == [tmp_path / ".venv"]
    (tmp_path / "caches" / "archive-v0" / "0123" / "torch").mkdir(parents=True)
    assert folders() == []  # links to the cache
    (tmp_path / "caches" / "archive-v0" / "0123" / "torch").rmdir()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").touch()
    assert folders() == []


def test_too_little_room_ends_the_step_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "missing", lambda **_: [Need(Path("/no/such/folder"), "much", 1e9)])
    with pytest.raises(StepError, match=r"(?s)/no/such/folder \(much\).*make room, or move"):
        room.check()
