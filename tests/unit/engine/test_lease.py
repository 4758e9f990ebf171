"""Leader election: at most one leads, whatever happens to its calls, its clock or its process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from lepton_operator.engine.client import Client
from lepton_operator.engine.lease import LEASES, LeaderElection, default_identity

PATH = LEASES.path("default", "lease")
Candidate = Callable[..., LeaderElection]


@pytest.fixture
async def candidate(client: Client) -> AsyncIterator[Candidate]:
    tasks: list[asyncio.Task[None]] = []

    def make(identity: str, clock: Any, *, run: bool = False, **options: Any) -> LeaderElection:
        election = LeaderElection(
            client, "default", "lease", identity=identity, clock=clock, **options
        )
        if run:
            tasks.append(asyncio.create_task(election.run()))
        return election

    yield make
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_exactly_one_of_two_candidates_leads(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await asyncio.gather(one._attempt(), two._attempt())
    assert one.is_leader != two.is_leader
    for _ in range(5):
        clock.advance(2)
        await asyncio.gather(one._attempt(), two._attempt())
        assert one.is_leader != two.is_leader
    leader = one if one.is_leader else two
    assert api.objects[PATH]["spec"]["holderIdentity"] == leader.identity
    assert two.holder == one.holder == leader.identity


async def test_a_silent_holder_is_followed_after_its_lease_and_has_given_up_before(
    candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await one._attempt()
    await two._attempt()
    led_together = False
    for _ in range(20):
        clock.advance(1)
        await two._attempt()
        led_together |= one.is_leader and two.is_leader
        if two.is_leader:
            break
    assert clock.now == 1000 + 15
    assert not led_together
    assert not one.is_leader


async def test_a_partitioned_leader_gives_up_at_its_deadline(
    candidate: Candidate, clock: Any, client: Client
) -> None:
    one = candidate("one", clock)
    await one._attempt()
    one._client = Client("http://127.0.0.1:1")
    clock.advance(9.9)
    await one._attempt()
    assert one.is_leader
    assert one.last_error
    clock.advance(0.1)
    assert not one.is_leader
    await one._client.close()


async def test_the_deadline_counts_from_the_start_of_the_last_renewal(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock)

    async def slow(_: Any) -> None:
        clock.advance(3)

    api.once(slow)  # the GET before it does not count
    api.once(slow)
    await one._attempt()
    clock.advance(6.9)
    assert one.is_leader
    clock.advance(0.2)
    assert not one.is_leader


async def test_a_process_that_was_paused_is_no_leader_when_it_wakes_and_ends(
    candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock, retry_period=0.01, run=True)
    await one.wait_leading()
    clock.advance(30)
    assert not one.is_leader
    await one.lost.wait()
    clock.advance(-30)
    assert not one.is_leader  # never again


async def test_a_renewal_that_is_answered_too_late_does_not_revive_the_lease(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock)
    await one._attempt()

    async def late(_: Any) -> None:
        clock.advance(3)

    api.once(late)
    clock.advance(8)
    await one._attempt()
    assert not one.is_leader


async def test_wrong_wall_clocks_in_the_record_are_harmless(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await one._attempt()
    for skew in ("1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"):
        api.objects[PATH]["spec"]["renewTime"] = skew
        await two._attempt()
        assert not two.is_leader
    clock.advance(14)
    await two._attempt()
    assert not two.is_leader
    clock.advance(1)
    await two._attempt()
    assert two.is_leader


async def test_a_released_lease_is_taken_at_the_next_attempt(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await one._attempt()
    await two._attempt()
    await one.stop()
    assert not one.is_leader
    assert api.objects[PATH]["spec"]["holderIdentity"] == ""
    await two._attempt()
    assert two.is_leader
    assert api.objects[PATH]["spec"]["leaseTransitions"] == 1


async def test_who_does_not_lead_releases_nothing(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await one._attempt()
    await two._attempt()
    await two.stop()
    assert api.objects[PATH]["spec"]["holderIdentity"] == "one"


async def test_a_renewal_whose_answer_was_lost_does_not_cost_the_lease(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock)
    await one._attempt()

    async def commit_and_cut(request: Any) -> Any:
        await api.answer(request)
        request.transport.close()
        return await api.answer(request)

    clock.advance(2)
    api.once(commit_and_cut)
    await one._attempt()
    clock.advance(2)
    await one._attempt()
    clock.advance(8)
    assert one.is_leader


async def test_a_call_that_hangs_is_cut_off_long_before_the_deadline(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock, lease_duration=0.9, renew_deadline=0.6, retry_period=0.2)
    await one._attempt()
    never = asyncio.Event()

    async def hang(_: Any) -> None:
        await never.wait()

    api.once(hang)
    await one._attempt()  # returns: that is what is tested
    assert "no answer in time" in str(one.last_error)
    never.set()


async def test_a_lease_that_another_holds_ends_ours_at_once(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one = candidate("one", clock)
    await one._attempt()
    spec = {**api.objects[PATH]["spec"], "holderIdentity": "usurper"}
    api.put(PATH, spec=spec)
    clock.advance(2)
    await one._attempt()
    assert not one.is_leader


async def test_a_deleted_lease_is_made_anew_by_its_holder_and_taken_by_no_other(
    api: Any, candidate: Candidate, clock: Any
) -> None:
    one, two = candidate("one", clock), candidate("two", clock)
    await one._attempt()
    await two._attempt()
    api.remove(PATH)
    clock.advance(5)
    await two._attempt()
    assert not two.is_leader
    await one._attempt()
    assert one.is_leader
    assert api.objects[PATH]["spec"]["holderIdentity"] == "one"
    clock.advance(5)
    await two._attempt()
    assert one.is_leader
    assert not two.is_leader


async def test_a_restarted_container_goes_on_with_the_lease_of_its_pod(
    candidate: Candidate, clock: Any
) -> None:
    await candidate("pod-1", clock)._attempt()
    again = candidate("pod-1", clock)
    await again._attempt()
    assert again.is_leader


async def test_a_standby_takes_over_when_the_running_leader_stops(
    candidate: Candidate, kit: Any
) -> None:
    one = candidate("one", time.monotonic, retry_period=0.01, run=True)
    await one.wait_leading()
    two = candidate("two", time.monotonic, retry_period=0.01, run=True)
    await kit.until(lambda: two.holder == "one")
    await one.stop()
    await two.wait_leading()
    assert two.is_leader
    assert not one.lost.is_set()


async def test_slow_requests_that_use_up_the_pool_do_not_cost_the_lease(
    api: Any, kit: Any, clock: Any
) -> None:
    client = Client(api.url, pool=1)
    never = asyncio.Event()

    async def hang(_: Any) -> None:
        await never.wait()

    api.once(hang)
    slow = asyncio.create_task(client.get("/api/v1/things"))
    await kit.until(lambda: api.requests)
    one = LeaderElection(client, "default", "lease", identity="one", clock=clock)
    await one._attempt()
    assert one.is_leader
    never.set()
    await slow
    await client.close()


async def test_an_answer_that_is_nonsense_is_a_failed_attempt(
    api: Any, candidate: Candidate, clock: Any, kit: Any
) -> None:
    async def nonsense(_: Any) -> Any:
        return web.json_response({"spec": 7})

    one = candidate("one", clock)
    api.once(nonsense)
    await one._attempt()
    assert not one.is_leader
    assert one.last_error
    await one._attempt()
    assert one.is_leader


def test_the_identity_is_the_pods_name_in_a_pod_and_unique_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert default_identity() != default_identity()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("POD_NAME", "operator-0")
    assert default_identity() == "operator-0"


async def test_times_that_can_let_two_lead_are_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="lease_duration > renew_deadline"):
        LeaderElection(client, "default", "lease", lease_duration=10, renew_deadline=10)
