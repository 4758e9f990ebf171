"""The API server's time is what counts, whatever this machine's clock is set to."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from lepton_operator.engine.client import Client
from lepton_operator.engine.clock import ServerClock

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def date(second: int, minute: int = 0) -> str:
    return format_datetime(NOON.replace(minute=minute, second=second), usegmt=True)


class Machine:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.wall = NOON.timestamp() - 3600
        self.steady = 1000.0
        self.clock = ServerClock(lambda: self.steady, lambda: self.wall)

    def seconds(self) -> float:
        """Since noon."""
        return (self.clock.now() - NOON).total_seconds()

    def tick(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_until_an_answer_came_this_machines_clock_has_to_do() -> None:
    machine = Machine()
    assert machine.seconds() == -3600
    machine.clock.hear(None)
    machine.clock.hear("yesterday")
    assert machine.seconds() == -3600


def test_afterwards_the_answers_tell_and_between_them_time_goes_on() -> None:
    machine = Machine()
    machine.clock.hear(date(0))
    assert machine.seconds() == 0
    machine.tick(1.5)
    assert machine.seconds() == 1.5
    machine.clock.hear(date(1))
    assert machine.seconds() == 1.5, "whole seconds say no more than is known"


def test_a_clock_that_is_set_moves_nothing() -> None:
    machine = Machine()
    machine.clock.hear(date(0))
    machine.tick(1)
    machine.wall += 7200
    assert machine.seconds() == 1


def test_a_server_whose_clock_is_set_is_followed() -> None:
    machine = Machine()
    machine.clock.hear(date(0))
    machine.clock.hear(date(0, minute=30))
    assert machine.seconds() == 1800
    machine.clock.hear(date(0))
    assert machine.seconds() == 0


async def test_the_client_listens_to_the_server_and_not_to_what_it_passes_on(
    api: Any, client: Client, kit: Any
) -> None:
    async def later(_: Any) -> Any:
        response = kit.json({"items": []})
        response.headers["Date"] = date(7)
        return response

    api.once(later)
    await client.get_text("/api/v1/namespaces/n/pods/p/proxy/progress", most=1000)
    assert abs((client.clock.now() - NOON).total_seconds()) > 3600
    api.once(later)
    await client.get("/api/v1/things")
    assert abs((client.clock.now() - NOON).total_seconds() - 7) < 5
