"""Production line: which orders the machines of a job shop work on, hour by hour.

Machines break down as in Holthaus, "Scheduling in Job Shops with Machine Breakdowns: An
Experimental Study" (Computers & Industrial Engineering 36, 1999), and due dates come from the work
of an order, as in the studies that `production_line_rules` names.
"""

from dataclasses import replace
from functools import cache, partial

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.arrays import constant, integers, inwards, outwards
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.production_line_orders import (
    CHOICES,
    LINES,
    MACHINES,
    PENALTIES,
    SLOTS,
)
from lepton.environments.scenarios.production_line_picture import render
from lepton.environments.scenarios.production_line_rules import Parameters, best_atc, reference
from lepton.environments.scenarios.production_line_shop import (
    RESET_NOISE,
    STEP_NOISE,
    Shop,
    State,
    heads,
)
from lepton.environments.scores import measure

MAX_STEPS = 120
"""Hours: five days of three shifts."""
USUAL = Shop(load=0.8, tightness=3.0, uptime=30.0, changeover=0.5)
PARAMETERS = (2.0, 0.5, 0.5)
"""`best_atc` of USUAL over 2,048 episodes: look-ahead, lead and reluctance."""
RETURNS = Returns(random=-1283.9, reference=-277.0)
"""Of USUAL, by `measure` over 16,384 episodes."""
_LINES = MACHINES * CHOICES
_OBSERVED = (
    (1.0, 0.0, 1.0),
    (5.0, -10.0, 30.0),
    (5.0, 0.0, 10.0),
    (4.0, 0.0, 8.0),
    (3.0, 0.0, float(SLOTS)),
    (1.0, 0.0, 1.0),
)
"""What is observed of each line: how much of it counts as 1, least and most."""


def observe(state: State) -> Array:
    """What is known of the first order of each line, and of machines, (n, 6 * 12 + 8)."""
    xp = array_namespace(state.due)
    first = heads(state)
    setting = inwards(state.setting)
    number = integers(setting, [[[k] for k in range(CHOICES)]])
    penalty = constant(first.due, [[[PENALTIES[f]] for f, _ in lines] for lines in LINES])
    of_lines = (
        first.waiting,
        first.due - first.left - first.after,
        first.left,
        first.waiting * penalty / xp.clip(first.left, min=0.5),
        first.count,
        xp.astype(setting[:, None] == number, xp.float32),
    )
    parts = [
        xp.reshape(xp.clip(values, min=least, max=most) / scale, (_LINES, -1))
        for values, (scale, least, most) in zip(of_lines, _OBSERVED, strict=True)
    ]
    parts += [inwards(state.ahead), xp.astype(inwards(state.up), xp.float32)]
    return outwards(xp.concat(parts, axis=0))


def metrics(state: State) -> dict[str, Array]:
    """Orders in the shop now, and since the episode began those finished, the share of them that
    was late, and orders turned away."""
    xp = array_namespace(state.due)
    return {
        "orders_in_shop": xp.sum(xp.astype(state.units > 0.0, xp.float32), axis=(1, 2)),
        "orders_done": state.done,
        "late_share": state.late / xp.where(state.done > 0.0, state.done, 1.0),
        "orders_lost": state.lost,
    }


def scenario(
    load: float = USUAL.load,
    tightness: float = USUAL.tightness,
    uptime: float = USUAL.uptime,
    changeover: float = USUAL.changeover,
) -> Scenario[State]:
    """A shop that has work for the share `load`, 0.3 to 0.95, of the hours when machines are up;
    orders have `tightness`, 1 to 8, times the hours of their work on average; a machine breaks
    after `uptime`, 4 to 10,000, hours on average; and a `changeover` takes 0 to 1 hour. Raises
    ValueError for others."""
    for name, value, least, most in (
        ("load", load, 0.3, 0.95),
        ("tightness", tightness, 1.0, 8.0),
        ("uptime", uptime, 4.0, 10_000.0),
        ("changeover", changeover, 0.0, 1.0),
    ):
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least:g} to {most:g}, not {value!r}")
    shop = Shop(float(load), float(tightness), float(uptime), float(changeover))
    if shop == USUAL:
        return replace(_make(shop, PARAMETERS), returns=RETURNS)
    return _searched(shop)


@cache
def _searched(shop: Shop) -> Scenario[State]:
    made = _make(shop, best_atc(_make(shop, PARAMETERS), episodes=128))
    return replace(made, returns=measure(made, episodes=1024))


def _make(shop: Shop, parameters: Parameters) -> Scenario[State]:
    of_lines = [(least / scale, most / scale) for scale, least, most in _OBSERVED]
    of_machines = [(0.0, 1.0)] * (2 * MACHINES)
    bounds = [bound for bound in of_lines for _ in range(_LINES)] + of_machines
    low, high = np.array(bounds, np.float32).T.copy()
    return Scenario(
        name="production-line",
        observation_space=spaces.Box(low, high),
        action_space=spaces.MultiDiscrete([CHOICES] * MACHINES),
        max_steps=MAX_STEPS,
        reset=shop.reset,
        step=shop.step,
        observe=observe,
        reset_noise=RESET_NOISE,
        step_noise=STEP_NOISE,
        reference=partial(reference, parameters=parameters),
        render=render,
        metrics=metrics,
    )
