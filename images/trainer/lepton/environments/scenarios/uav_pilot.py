"""The reference for uav-inspection: along the route, by the cascade of common autopilots.

A proportional controller from position to velocity here, and the autopilot's from velocity to
acceleration; together the proportional and derivative parts of a PID controller of position. What
an integral part would learn slowly, the push against the wind, the autopilot feeds forward.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.scenario import Array
from lepton.environments.scenarios.uav_site import (
    MAX_SPEED,
    Plan,
    State,
    heading,
    next_target,
    turned,
)


class Rule(NamedTuple):
    """What the reference flies by."""

    cruise: float  # m/s, the fastest that it wants to fly, and plans with
    gain: float  # m/s wanted per m to go
    stop: float  # s, that its plan adds for each point


RULE = Rule(cruise=MAX_SPEED, gain=0.375, stop=1.0)
CHOICES = (
    (12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, MAX_SPEED),
    (0.2, 0.25, 0.3, 0.325, 0.35, 0.375, 0.4, 0.425, 0.45, 0.5, 0.6),
    (0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0),
)
"""Among these `best_by_turns` found the rule; a test repeats its last round."""
PLAN = Plan(speed=RULE.cruise, stop=RULE.stop)


def fly(state: State, numbers: Array) -> Array:
    """Velocities wanted along and across the heading, (n, 2), in m/s, by the rule of each row,
    (n, 3)."""
    xp = array_namespace(state.x)
    cruise, gain, stop = numbers[:, 0], numbers[:, 1], numbers[:, 2]
    target_x, target_y = next_target(state, Plan(cruise[:, None], stop[:, None]))
    to_x, to_y = target_x - state.x, target_y - state.y
    metres = xp.sqrt(to_x * to_x + to_y * to_y)
    share = xp.minimum(cruise / xp.clip(metres, 1e-3, None), gain)
    return xp.stack(turned(share * to_x, share * to_y, *heading(state)), axis=1)
