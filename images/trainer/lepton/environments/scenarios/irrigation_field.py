"""What an irrigated field consists of: the crop, its soil, prices, and the state of a season."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.scenario import Array
from lepton.environments.tables import look_up

TURN = 3
"""Days from one decision to the next."""
DAYS = 150
TURNS = DAYS // TURN
STEP_DEPTH, MOST_DEPTH = 10.0, 50.0
"""mm: what is applied at a turn is a multiple of the one, up to the other."""
APPLICATION_EFFICIENCY = 0.85
"""Share of what is applied that reaches the roots (sprinklers)."""
YIELD = 12.0
"""t/ha without stress."""


def _lines(*points: tuple[int, float]) -> tuple[float, ...]:
    """A value for each day of the season, in straight lines between points (day, value)."""
    values = []
    for day in range(DAYS):
        after = next(i for i, (end, _) in enumerate(points) if end > day)
        (begin, low), (end, high) = points[after - 1], points[after]
        values.append(low + (high - low) * (day - begin) / (end - begin))
    return tuple(values)


# Grain maize sown at the beginning of May: FAO-56, tables 11, 12 and 22.
CROP_COEFFICIENT = _lines((0, 0.3), (30, 0.3), (70, 1.2), (120, 1.2), (150, 0.35))
ROOT_DEPTH = _lines((0, 0.3), (70, 1.0), (150, 1.0))
"""m."""
DEPLETION_FRACTION = 0.55
"""Share of the available water that the crop takes without stress when it needs 5 mm/day."""
STAGES = ((69, 0.4), (90, 1.5), (132, 0.5), (150, 0.2))
"""Day after the last, and yield response factor, of vegetative growth, flowering, yield formation
and ripening (FAO-33, maize)."""
REFERENCE_EVAPOTRANSPIRATION = tuple(
    3.6 + 2.5 * math.cos(2.0 * math.pi * (day - 65) / 365.0) for day in range(DAYS)
)
"""mm/day on average: 4.7 at sowing, 6.1 at the beginning of July, 3.9 at harvest."""


def _stage_of(turn: int) -> int:
    return next(i for i, (end, _) in enumerate(STAGES) if end > turn * TURN)


def _need(begin: int, end: int) -> float:
    """mm that the crop takes without stress from one day to another, on average."""
    days = range(begin, end)
    return sum(CROP_COEFFICIENT[day] * REFERENCE_EVAPOTRANSPIRATION[day] for day in days)


_BEGINS = (0, *(end for end, _ in STAGES))
STAGE_NEED = tuple(_need(_BEGINS[s], _BEGINS[s + 1]) for s in map(_stage_of, range(TURNS)))
"""By turn: mm that the crop takes in the turn's stage."""
RESPONSE = tuple(STAGES[_stage_of(turn)][1] for turn in range(TURNS))
"""By turn: the stage's yield response factor."""
STAGE_ENDS = tuple((turn + 1) * TURN in _BEGINS for turn in range(TURNS))
"""By turn: whether the stage ends with it."""


@dataclass(frozen=True)
class Field:
    """What can be chosen. Raises ValueError for what can't be."""

    soil: float = 150.0
    """mm of water that a metre of soil holds for plants."""
    rain: float = 1.0
    """Rain by that of the default climate."""
    crop_price: float = 170.0
    """$/t."""
    water_price: float = 1.5
    """$ for a millimetre on a hectare (10 m³)."""
    turn_price: float = 15.0
    """$/ha for each turn with irrigation: labour, and starting the pumps."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("soil", 50.0, 250.0),
            ("rain", 0.0, 3.0),
            ("crop_price", 50.0, 500.0),
            ("water_price", 0.0, 5.0),
            ("turn_price", 0.0, 50.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must lie within {low:g} and {high:g}, not {value:g}")


class State(NamedTuple):
    """Each of shape (n,) unless it says otherwise."""

    turn: Array  # decisions so far, int64
    depletion: Array  # mm that the root zone lacks to field capacity
    deficit: Array  # mm that the crop went without in this stage
    finished: Array  # share of the yield that the finished stages have left
    heat: Array  # evaporation in the past turn about its mean, in standard deviations
    rained: Array  # whether it rained on the last day of the past turn, 0 or 1
    wet: Array  # whether it will on the last day of the coming turn
    rain: Array  # mm on each day of the coming turn, (n, TURN)
    forecast: Array  # mm of it, as forecast
    applied: Array  # mm of irrigation so far
    fallen: Array  # mm of rain so far


def available_water(field: Field, day: Array, like: Array) -> Array:
    """mm that the root zone holds for the crop on this day of the season."""
    return field.soil * look_up(ROOT_DEPTH, day, like)


def yield_share(state: State) -> Array:
    """Share of the full yield that is left if the crop lacks nothing from now on."""
    turn = state.turn % TURNS
    loss = look_up(RESPONSE, turn, state.deficit) * state.deficit
    xp = array_namespace(loss)
    kept = 1.0 - loss / look_up(STAGE_NEED, turn, state.deficit)
    return state.finished * xp.clip(kept, 0.0, 1.0)
