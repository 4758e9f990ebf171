"""What the command sets up before the operator runs."""

import gc
import sys

import pytest

from lepton_operator.app import controller, garbage, main
from lepton_operator.app.options import Options


def test_threads_take_turns_quickly_and_garbage_is_looked_for_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[float] = []

    async def run(_: Options) -> int:
        found.extend((sys.getswitchinterval(), gc.get_threshold()[0]))
        return 0

    monkeypatch.setattr(controller, "run", run)
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        assert main.main(["run", "--trainer-image=trainer"]) == 0
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
    assert found == pytest.approx([main.SWITCH_SECONDS, garbage.YOUNG])
    assert found[0] < before[0]
    assert found[1] > before[1][0]
