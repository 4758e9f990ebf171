"""The room on the disk that the make targets need, told before they begin."""

from pathlib import Path

import pytest

import room
from room import Disk, Need, shortage
from steps import StepError

CHECKOUT, STORAGE, TEMPORARY = Path("/work/.cluster"), Path("/var/lib/images"), Path("/var/tmp")
NEEDS = (
    Need("build", STORAGE, 6.0, 4.0),
    Need("build", TEMPORARY, 0.0, 10.0),
    Need("push", CHECKOUT, 9.0),
    Need("push", TEMPORARY, 0.0, 5.0),
)


@pytest.mark.parametrize(("pushed", "wanted"), [(9.0, 20.0), (12.0, 23.0)])
def test_on_one_disk_what_stays_adds_up_and_what_goes_again_counts_while_it_is_there(
    pushed: float, wanted: float
):
    needs = (*NEEDS[:2], Need("push", CHECKOUT, pushed), NEEDS[3])
    one = dict.fromkeys((CHECKOUT, STORAGE, TEMPORARY), Disk(1, wanted))
    assert shortage(needs, one) is None
    short = shortage(needs, dict.fromkeys(one, Disk(1, wanted - 0.1)))
    assert short is not None
    assert short.splitlines() == [
        f"{wanted} GiB of disk are needed where {wanted - 0.1:.1f} are free:",
        "  build: 6.0 GiB and 4.0 for a time in /var/lib/images",
        "  build: 0.0 GiB and 10.0 for a time in /var/tmp",
        f"  push: {pushed} GiB in /work/.cluster",
        "  push: 0.0 GiB and 5.0 for a time in /var/tmp",
    ]


def test_each_disk_has_to_have_room_for_what_is_its_own():
    enough = {CHECKOUT: Disk(1, 14.0), STORAGE: Disk(2, 10.0), TEMPORARY: Disk(1, 14.0)}
    assert shortage(NEEDS, enough) is None
    short = shortage(NEEDS, {**enough, STORAGE: Disk(2, 9.9)})
    assert short == (
        "10.0 GiB of disk are needed where 9.9 are free:\n"
        "  build: 6.0 GiB and 4.0 for a time in /var/lib/images"
    )
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
    monkeypatch.setattr(room, "missing", lambda **_: [Need("much", Path("/no/such/folder"), 1e9)])
    with pytest.raises(StepError, match=r"(?s)in /no/such/folder.*make room, or move"):
        room.check()
