"""When the embedded cluster is built anew."""

from lepton_cluster.build import cache_key, linker_flags

SOURCES = [("go.mod", b"module m"), ("kube/main.go", b"package main")]


def key(sources: list[tuple[str, bytes]], go: str = "1.26.0", machine: str = "x86_64") -> str:
    return cache_key(sources, go, machine)


def test_the_order_in_which_files_are_found_does_not_matter() -> None:
    assert key(SOURCES) == key(SOURCES[::-1])


def test_a_changed_file_a_new_name_another_go_and_another_machine_each_mean_a_new_build() -> None:
    changed = [("go.mod", b"module m2"), SOURCES[1]]
    renamed = [("go.mod", b"module m"), ("kube/other.go", b"package main")]
    keys = {
        key(SOURCES),
        key(changed),
        key(renamed),
        key(SOURCES, go="1.27.0"),
        key(SOURCES, machine="aarch64"),
    }
    assert len(keys) == 5


def test_bytes_cannot_move_from_one_file_to_the_next_unseen() -> None:
    assert key([("a", b"xy"), ("b", b"")]) != key([("a", b"x"), ("b", b"y")])


def test_clients_see_the_version_of_kubernetes() -> None:
    flags = linker_flags("v1.37.2")
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags
