"""Irrigation: when to water a field of maize, and how much, for the most profit of a season.

Soil water balance and crop coefficients: FAO-56 (Allen, Pereira, Raes and Smith, "Crop
Evapotranspiration", 1998). Yield: FAO-33 (Doorenbos and Kassam, "Yield Response to Water", 1979).
Weather: Richardson, "Stochastic Simulation of Daily Precipitation, Temperature, and Solar
Radiation" (1981). Runoff: curve numbers (USDA, National Engineering Handbook, part 630).
"""

from functools import cache, partial

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.sampling import normal, successor
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.irrigation_field import (
    APPLICATION_EFFICIENCY,
    CROP_COEFFICIENT,
    DEPLETION_FRACTION,
    MOST_DEPTH,
    REFERENCE_EVAPOTRANSPIRATION,
    RESPONSE,
    ROOT_DEPTH,
    STAGE_ENDS,
    STAGE_NEED,
    STEP_DEPTH,
    TURN,
    TURNS,
    YIELD,
    Field,
    State,
    available_water,
    yield_share,
)
from lepton.environments.scenarios.irrigation_picture import render
from lepton.environments.scores import measure
from lepton.environments.tables import look_up

WET_AFTER_DRY, WET_AFTER_WET = 0.22, 0.38
"""Probability of rain on a day, by the day before."""
WET_SHARE = WET_AFTER_DRY / (1.0 - WET_AFTER_WET + WET_AFTER_DRY)
RAIN = 9.0
"""mm on a day with rain, on average; exponential."""
FORECAST_ERROR = 0.9
"""Standard deviation of the square root of a turn's rain in mm about the truth."""
WET_DAY = 0.75
"""Evaporation on a day with rain, by the mean of all days."""
DRY_DAY = (1.0 - WET_SHARE * WET_DAY) / (1.0 - WET_SHARE)
HEAT_DEVIATION, HEAT_PERSISTENCE = 0.15, 0.5
"""Of evaporation about its mean, by that; autocorrelation from turn to turn."""
RETENTION = 254.0 * (100.0 / 75.0 - 1.0)
"""mm, of curve number 75: row crops on a soil of medium texture."""
START = 0.75
"""Share of the readily available water after which the reference irrigates; the best for the
default field of those that lie 0.05 apart."""
BEGIN_DEPLETION = 0.5
"""The first depletion is uniform between none and this share of the available water."""


def _weather(field: Field, wet: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Whether the last day is wet, rain by day (n, TURN), and its forecast, of the coming turn."""
    xp = array_namespace(noise)
    days = []
    for day in range(TURN):
        number = noise[:, day]
        chance = WET_AFTER_DRY + (WET_AFTER_WET - WET_AFTER_DRY) * wet
        wet = xp.astype(number < chance, xp.float32)
        # Given that it rains, number / chance is uniform in [0, 1).
        share = xp.clip(number / chance, 0.0, 0.9999999)
        days.append(wet * (-RAIN * field.rain) * xp.log(1.0 - share))
    rain = xp.stack(days, axis=1)
    error = FORECAST_ERROR * normal(noise[:, TURN], noise[:, TURN + 1])
    root = xp.clip(xp.sqrt(xp.sum(rain, axis=1)) + error, 0.0, None)
    return wet, rain, root * root


def reset(field: Field, n: int, noise: Array) -> State:
    """The day of sowing."""
    xp = array_namespace(noise)
    zeros = xp.zeros_like(noise[:, 0])
    rained = xp.astype(noise[:, 0] < WET_SHARE, xp.float32)
    wet, rain, forecast = _weather(field, rained, noise[:, 4:])
    return State(
        turn=xp.astype(zeros, xp.int64),
        depletion=noise[:, 1] * (BEGIN_DEPLETION * field.soil * ROOT_DEPTH[0]),
        deficit=zeros,
        finished=zeros + 1.0,
        heat=normal(noise[:, 2], noise[:, 3]),
        rained=rained,
        wet=wet,
        rain=rain,
        forecast=forecast,
        applied=zeros,
        fallen=zeros,
    )


def step(field: Field, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """A turn: irrigate on its first day, then three days of weather. The reward is what the turn
    cost, in water and in yield, $/ha."""
    xp = array_namespace(noise)
    depth = xp.astype(action, xp.float32) * STEP_DEPTH
    heat = successor(state.heat, HEAT_PERSISTENCE, noise[:, 0], noise[:, 1])
    anomaly = xp.clip(1.0 + HEAT_DEVIATION * heat, 0.5, 1.5)
    depletion, deficit = state.depletion, state.deficit
    water = depth * APPLICATION_EFFICIENCY
    for day in range(TURN):
        rain, index = state.rain[:, day], state.turn * TURN + day
        beyond = xp.clip(rain - 0.2 * RETENTION, 0.0, None)
        water = water + rain - beyond * beyond / (rain + 0.8 * RETENTION)
        # What is more than the root zone can hold seeps away.
        depletion = xp.clip(depletion - water, 0.0, None)
        evaporation = look_up(REFERENCE_EVAPOTRANSPIRATION, index, noise) * anomaly
        evaporation = evaporation * (
            DRY_DAY - (DRY_DAY - WET_DAY) * xp.astype(rain > 0.0, xp.float32)
        )
        need = look_up(CROP_COEFFICIENT, index, noise) * evaporation
        taken = need * _stress(available_water(field, index, noise), depletion, need)
        depletion, deficit = depletion + taken, deficit + (need - taken)
        water = 0.0
    share = yield_share(state._replace(deficit=deficit))
    stage_ends = look_up(STAGE_ENDS, state.turn, noise) > 0.5
    wet, rain, forecast = _weather(field, state.wet, noise[:, 2:])
    after = State(
        turn=state.turn + 1,
        depletion=depletion,
        deficit=xp.where(stage_ends, 0.0, deficit),
        finished=xp.where(stage_ends, share, state.finished),
        heat=heat,
        rained=state.wet,
        wet=wet,
        rain=rain,
        forecast=forecast,
        applied=state.applied + depth,
        fallen=state.fallen + xp.sum(state.rain, axis=1),
    )
    reward = (
        (YIELD * field.crop_price) * (share - yield_share(state))
        - field.water_price * depth
        - field.turn_price * xp.astype(depth > 0.0, xp.float32)
    )
    return after, reward, after.turn >= TURNS


def _stress(available: Array, depletion: Array, need: Array) -> Array:
    """Share of its need that the crop can take (Ks of FAO-56, with p for the day's need)."""
    xp = array_namespace(depletion)
    fraction = xp.clip(DEPLETION_FRACTION + 0.04 * (5.0 - need), 0.1, 0.8)
    return xp.clip((available - depletion) / ((1.0 - fraction) * available), 0.0, 1.0)


def reference(field: Field, state: State, start: float = START) -> Array:
    """Irrigate to field capacity once more than a share of the readily available water is gone."""
    xp = array_namespace(state.depletion)
    available = available_water(field, (state.turn % TURNS) * TURN, state.depletion)
    due = state.depletion > start * DEPLETION_FRACTION * available
    depth = xp.clip(state.depletion / APPLICATION_EFFICIENCY, 0.0, MOST_DEPTH)
    steps = xp.floor(depth / STEP_DEPTH + 0.5)
    return xp.astype(xp.where(due, steps, 0.0), xp.int64)


_KNOWN = tuple(
    (
        1.0 - turn / TURNS,
        CROP_COEFFICIENT[TURN * min(turn, TURNS - 1)],
        ROOT_DEPTH[TURN * min(turn, TURNS - 1)],
        100.0 * RESPONSE[min(turn, TURNS - 1)] / STAGE_NEED[min(turn, TURNS - 1)],
    )
    for turn in range(TURNS + 1)
)
"""What the calendar tells, by turn: the share of the season that is left, the crop coefficient, the
roots' depth in m, and percent of the yield lost for a millimetre that the crop goes without."""


def observe(field: Field, state: State) -> Array:
    """What the calendar tells and what is measured and forecast, shape (n, 10)."""
    xp = array_namespace(state.depletion)
    known = look_up(_KNOWN, state.turn, state.depletion)
    available = available_water(field, (state.turn % TURNS) * TURN, state.depletion)
    measured = xp.stack(
        [
            state.depletion / available,
            state.depletion / MOST_DEPTH,
            yield_share(state),
            state.heat / 3.0,
            state.rained,
            state.forecast / 30.0,
        ],
        axis=1,
    )
    return xp.concat([known, measured], axis=1)


def metrics(state: State) -> dict[str, Array]:
    """Irrigation and rain so far, mm, and the share of the full yield that is still possible."""
    share = yield_share(state)
    return {"applied": state.applied, "rain": state.fallen, "yield_share": share}


RETURNS = Returns(random=-2518.2, reference=-814.8)
"""Of the default field."""


@cache
def _returns(field: Field) -> Returns:
    return measure(_scenario(field, None), episodes=1024)


def _scenario(field: Field, returns: Returns | None) -> Scenario[State]:
    return Scenario(
        name="irrigation",
        observation_space=spaces.Box(-np.inf, np.inf, (10,), np.float32),
        action_space=spaces.Discrete(round(MOST_DEPTH / STEP_DEPTH) + 1),
        max_steps=TURNS,
        reset=partial(reset, field),
        step=partial(step, field),
        observe=partial(observe, field),
        reset_noise=9,
        step_noise=7,
        reference=partial(reference, field),
        returns=returns,
        render=partial(render, field),
        metrics=metrics,
    )


def scenario(
    soil: float = Field.soil,
    rain: float = Field.rain,
    crop_price: float = Field.crop_price,
    water_price: float = Field.water_price,
    turn_price: float = Field.turn_price,
) -> Scenario[State]:
    """Parameters are those of `Field`."""
    field = Field(soil, rain, crop_price, water_price, turn_price)
    return _scenario(field, RETURNS if field == Field() else _returns(field))
