"""Traffic signals: choose the phases of a grid of junctions through the peaks of a day.

Store-and-forward queues (Aboudolas, Papageorgiou and Kosmatopoulos, "Store-and-forward based
methods for the signal control problem in large-scale congested urban road networks",
Transportation Research C 17, 2009): what waits leaves at the saturation flow while its light is
green, divides by fixed turning rates, and reaches the next queue after the link's travel time.
Links hold a limited number of vehicles, and full ones hold back those who want to enter.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.arrays import constant, integers
from lepton.environments.sampling import poisson
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.traffic_grid import EAST, SOUTH, WEST, Grid
from lepton.environments.scenarios.traffic_picture import draw
from lepton.environments.scores import measure

STEP = 20.0  # s; also the travel time of a link
MAX_STEPS = 90  # half an hour
SATURATION_FLOW = 0.5  # vehicles/s of a lane group: 1,800 vehicles/h
THROUGH, RIGHT, LEFT = 0.65, 0.15, 0.2
"""Shares of the vehicles on every approach."""
AHEAD = THROUGH + RIGHT
"""Share of the lane group that goes through or right; the other one turns left."""
STORAGE = 40.0  # vehicles on a link: 280 m, driven in 20 s, at 7 m each
ARTERIAL, STREET = 700.0, 450.0  # vehicles/h that enter at a full peak: east-west, north-south
INWARDS = (EAST, SOUTH)
"""Headings of those who enter towards the centre, which lies in the south-east."""

FIRST_HOUR, LAST_HOUR = 6.0, 20.0  # between which an episode begins
MORNING, EVENING, SPREAD = 8.0, 17.5, 1.0  # hours of the peaks, and their standard deviation
OFF_PEAK, COUNTER_PEAK = 0.4, 0.6
"""Shares of a full peak: outside of peaks, and at a peak in the other direction."""

PHASES = 4
"""Green for headings north and south, for their left turns, for east and west, for theirs."""


RETURNS = Returns(random=-71.62, reference=-18.33)
"""Of the usual parameters, by `measure` over 16,384 episodes."""


class State(NamedTuple):
    """Vehicles are counted in fractions, too. J junctions, L links."""

    queue: Array  # vehicles, (n, 2, 4, J): lane group (through and right, left), heading, junction
    travelling: Array  # vehicles on each link, which reach its end in the coming step, (n, L)
    phase: Array  # int64, (n, J)
    hour: Array  # of the day, (n,)
    entered: Array  # vehicles since the episode began, (n,)
    left: Array  # vehicles, (n,)
    waited: Array  # vehicle hours, (n,)


@dataclass(frozen=True)
class Network:
    """Streets and what drives on them. n is the batch's size."""

    grid: Grid
    demand: float
    lost_time: float  # s

    def reset(self, n: int, noise: Array) -> State:
        """Empty streets at some time of the day, (n, 1) numbers."""
        xp, junctions = array_namespace(noise), self.grid.junctions
        hour = FIRST_HOUR + (LAST_HOUR - FIRST_HOUR) * noise[:, 0]
        none = xp.zeros_like(hour)
        columns = none[:, None] * constant(noise, (0.0,) * (8 * junctions))
        queue = xp.reshape(columns, (n, 2, 4, junctions))
        phase = xp.astype(columns[:, :junctions], xp.int64)
        travelling = columns[:, : len(self.grid.links)]
        return State(queue, travelling, phase, hour, none, none, none)

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Show the phases `action`, (n, J), for 20 s. The reward is minus the time that vehicles
        wait in queues, in vehicle hours."""
        xp = array_namespace(noise)
        entering = self._entering(state.hour, noise)
        queue = self._joined(state.queue, entering, state.travelling)
        seconds = xp.where(action == state.phase, STEP, STEP - self.lost_time)
        capacity = xp.astype(seconds, xp.float32) * SATURATION_FLOW
        phases = [[[[2 * (heading % 2) + group] for heading in range(4)] for group in range(2)]]
        green = action[:, None, None, :] == integers(noise, phases)
        wanted = xp.minimum(queue, xp.where(green, capacity[:, None, None, :], 0.0))
        flow = self._with_room(state, wanted)
        queue = queue - flow
        leaving = _exits(flow)
        onto_links = self._taken(leaving, self.grid.link_starts)
        waiting = xp.sum(queue, axis=(1, 2, 3)) * (STEP / 3600)
        after = State(
            queue,
            onto_links,
            xp.astype(action, xp.int64),
            state.hour + STEP / 3600,
            state.entered + xp.sum(entering, axis=1),
            state.left + xp.sum(leaving, axis=(1, 2)) - xp.sum(onto_links, axis=1),
            state.waited + waiting,
        )
        return after, -waiting, xp.zeros_like(waiting, dtype=xp.bool)

    def observe(self, state: State) -> Array:
        """Queues and vehicles on links in tens, phases one-hot, demand: (n, 12 J + L + 2)."""
        xp = array_namespace(state.queue)
        n, junctions = state.queue.shape[0], self.grid.junctions
        shown = state.phase[:, None, :] == integers(state.phase, [[[p] for p in range(PHASES)]])
        inwards, outwards = levels(state.hour)
        parts = [
            xp.reshape(state.queue, (n, 8 * junctions)) / 10.0,
            state.travelling / 10.0,
            xp.astype(xp.reshape(shown, (n, PHASES * junctions)), xp.float32),
            self.demand * inwards[:, None],
            self.demand * outwards[:, None],
        ]
        return xp.concat(parts, axis=1)

    def reference(self, state: State) -> Array:
        """Max-pressure control (Varaiya, "Max pressure control of a network of signalized
        intersections", Transportation Research C 36, 2013): at each junction the phase that has
        most vehicles waiting for it, less those waiting where it would send them."""
        xp, grid = array_namespace(state.queue), self.grid
        ahead, left = state.queue[:, 0], state.queue[:, 1]
        behind = self._taken(AHEAD * ahead + LEFT * left, grid.link_ends)
        behind = self._by_exit(behind, outside=0.0)
        ahead = ahead - (THROUGH * behind + RIGHT * xp.roll(behind, -1, axis=1)) / AHEAD
        left = left - xp.roll(behind, 1, axis=1)
        pressures = xp.stack([ahead[:, :2] + ahead[:, 2:], left[:, :2] + left[:, 2:]], axis=2)
        return xp.argmax(xp.reshape(pressures, (-1, PHASES, grid.junctions)), axis=1)

    @cached_property
    def _rates(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Vehicles that enter in a step at a full peak, by entry: of those who go towards the
        centre and away from it."""
        headings = [self.grid.heading(place) for place in self.grid.entries]
        rates = [
            self.demand * (ARTERIAL if h in (EAST, WEST) else STREET) * STEP / 3600
            for h in headings
        ]
        both = list(zip(headings, rates, strict=True))
        return (
            tuple(rate if h in INWARDS else 0.0 for h, rate in both),
            tuple(0.0 if h in INWARDS else rate for h, rate in both),
        )

    def _entering(self, hour: Array, noise: Array) -> Array:
        """Vehicles from outside in a step, (n, entries)."""
        inwards, outwards = levels(hour)
        to_centre, from_centre = self._rates
        rates = inwards[:, None] * constant(noise, to_centre)
        rates = rates + outwards[:, None] * constant(noise, from_centre)
        highest = max(to_centre + from_centre)
        return poisson(noise, rates, most=int(highest + 5 * highest**0.5 + 2))

    def _joined(self, queue: Array, entering: Array, travelling: Array) -> Array:
        """Queues with those who reach them from outside and from links."""
        xp = array_namespace(queue)
        both = xp.concat([entering, travelling], axis=1)
        reaching = self._taken(both, self.grid.source_of_approach)
        reaching = xp.reshape(reaching, (queue.shape[0], 4, self.grid.junctions))
        return queue + xp.stack([reaching * AHEAD, reaching * LEFT], axis=1)

    def _with_room(self, state: State, wanted: Array) -> Array:
        """The flow, of what is wanted, that links have room for. A lane group waits as a whole
        when one of its directions is full."""
        xp, grid = array_namespace(wanted), self.grid
        queued = self._taken(state.queue[:, 0] + state.queue[:, 1], grid.link_ends)
        room = xp.clip(STORAGE - queued - state.travelling, min=0.0)
        onto_links = self._taken(_exits(wanted), grid.link_starts)
        some = xp.where(onto_links > 0.0, onto_links, 1.0)
        share = xp.where(onto_links > room, room / some, 1.0)
        share = self._by_exit(share, outside=1.0)
        ahead = xp.minimum(share, xp.roll(share, -1, axis=1))
        return wanted * xp.stack([ahead, xp.roll(share, 1, axis=1)], axis=1)

    def _by_exit(self, links: Array, outside: float) -> Array:
        """Values of links, (n, L), by the exit that leads onto each, (n, 4, J)."""
        xp, n = array_namespace(links), links.shape[0]
        beyond = xp.broadcast_to(constant(links, [[outside]]), (n, 1))
        placed = self._taken(xp.concat([links, beyond], axis=1), self.grid.link_of_exit)
        return xp.reshape(placed, (n, 4, self.grid.junctions))

    def _taken(self, values: Array, places: tuple[int, ...]) -> Array:
        """These places of all that follows the first axis, (n, places)."""
        xp = array_namespace(values)
        flat = xp.reshape(values, (values.shape[0], -1))
        return xp.take(flat, integers(values, places), axis=1)


def _exits(flow: Array) -> Array:
    """Vehicles that leave a junction, by the heading that they leave with, (n, 4, J)."""
    xp = array_namespace(flow)
    ahead, left = flow[:, 0], flow[:, 1]
    from_left_of_it = xp.roll(ahead * (RIGHT / AHEAD), 1, axis=1)
    return ahead * (THROUGH / AHEAD) + from_left_of_it + xp.roll(left, -1, axis=1)


def levels(hour: Array) -> tuple[Array, Array]:
    """Demand towards the centre and away from it, in full peaks, by the hour of the day."""
    xp = array_namespace(hour)
    morning, evening = (xp.exp(((hour - peak) / SPREAD) ** 2 * -0.5) for peak in (MORNING, EVENING))
    main, counter = 1.0 - OFF_PEAK, COUNTER_PEAK - OFF_PEAK
    return (
        OFF_PEAK + main * morning + counter * evening,
        OFF_PEAK + main * evening + counter * morning,
    )


def metrics(state: State) -> dict[str, Array]:
    """Vehicles waiting now, and since the episode began: those who got through, mean wait."""
    xp = array_namespace(state.hour)
    return {
        "vehicles_waiting": xp.sum(state.queue, axis=(1, 2, 3)),
        "vehicles_through": state.left,
        "wait_seconds": 3600.0 * state.waited / xp.where(state.entered > 0.0, state.entered, 1.0),
    }


def scenario(
    rows: int = 2, columns: int = 2, demand: float = 1.0, lost_time: float = 5.0
) -> Scenario[State]:
    """A grid of `rows` x `columns` junctions, 1 to 6 each; `demand` in parts of the usual, 0.1
    to 3; `lost_time`, from 0 and below 20 s, without flow when a phase begins. Raises
    ValueError for others."""
    for name, size in (("rows", rows), ("columns", columns)):
        if size not in range(1, 7):
            raise ValueError(f"{name} must be a whole number from 1 to 6, not {size!r}")
    if not 0.1 <= demand <= 3.0:
        raise ValueError(f"demand must be from 0.1 to 3, not {demand!r}")
    if not 0.0 <= lost_time < STEP:
        raise ValueError(f"lost_time must be from 0 s and below {STEP:g} s, not {lost_time!r}")
    network = Network(Grid(rows, columns), demand, lost_time)
    made = _make(network)
    usual = network == Network(Grid(2, 2), 1.0, 5.0)
    return replace(made, returns=RETURNS if usual else _measured(network))


def _make(network: Network) -> Scenario[State]:
    grid = network.grid
    size = 12 * grid.junctions + len(grid.links) + 2
    return Scenario(
        name="traffic-signals",
        observation_space=spaces.Box(0.0, np.inf, (size,), np.float32),
        action_space=spaces.MultiDiscrete([PHASES] * grid.junctions),
        max_steps=MAX_STEPS,
        reset=network.reset,
        step=network.step,
        observe=network.observe,
        reset_noise=1,
        step_noise=len(grid.entries),
        reference=network.reference,
        render=partial(draw, grid),
        metrics=metrics,
    )


@cache
def _measured(network: Network) -> Returns:
    return measure(_make(network), episodes=1024)
