"""Rows 2 and 3: writes whose answers are lost, and writes that are refused."""

from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import LoseAnswer, LoseRequest, Refuse, Rule
from campaign.lives import LIVES, live
from campaign.requests import ANY_OBJECT_WRITE, STATUS_WRITE, which
from campaign.scene import scene

pytestmark = pytest.mark.timeout(1800)


async def lived(cluster, baselines, folder, name, *rules):
    """A life under some rules, each of which must have struck, compared with one without."""
    async with scene(cluster, folder) as here:
        for rule in rules:
            here.proxy.strike(rule)
        outcome = await live(here, LIVES[name])
        assert all(rule.struck for rule in rules), rules
        try:
            baselines.compare(name, outcome, here, told=True)
        except AssertionError as error:
            error.add_note(f"{name} under {rules}")
            raise


async def test_row_2_an_object_that_was_made_without_an_answer_is_not_made_twice(
    cluster, baselines, tmp_path
):
    await baselines.of("happy", "fails_once", "scaled")
    kinds = ("networkpolicies", "services", "jobs")
    await side_by_side(
        [
            *(
                partial(
                    lived, cluster, baselines, tmp_path, "happy",
                    Rule(which("create", kind), LoseAnswer()),
                )
                for kind in kinds
            ),
            partial(
                lived, cluster, baselines, tmp_path, "fails_once",
                *(Rule(which("create", kind), LoseAnswer()) for kind in kinds),
                Rule(which("create", "jobs"), LoseAnswer(), skip=1),
            ),
            *(
                partial(
                    lived, cluster, baselines, tmp_path, name,
                    Rule(ANY_OBJECT_WRITE, LoseAnswer(), times=None, every=2),
                )
                for name in ("happy", "fails_once", "scaled")
            ),
        ]
    )  # fmt: skip


async def test_row_2_a_request_that_never_arrived_is_sent_again(cluster, baselines, tmp_path):
    names = ("happy", "suspended_and_resumed", "pod_deleted")
    await baselines.of(*names)
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, name,
            Rule(ANY_OBJECT_WRITE, LoseRequest(), times=None, every=2),
        )
        for name in names
    )  # fmt: skip


REFUSALS = {
    "409": Refuse(409, "Conflict", "the object has been modified"),
    "422": Refuse(422, "Invalid", "status.phase: Unsupported value"),
    "429": Refuse(429, "TooManyRequests", "slow down", retry_after=2),
    "500": Refuse(500, "InternalError", "etcdserver: request timed out"),
    "503": Refuse(503, "ServiceUnavailable", "not ready", retry_after=1),
}


async def test_row_3_status_writes_that_are_refused_are_made_up_for(cluster, baselines, tmp_path):
    await baselines.of("fails_once")
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, "fails_once",
            Rule(STATUS_WRITE, refusal, times=None, every=2),
        )
        for refusal in REFUSALS.values()
    )  # fmt: skip
