"""Microgrid: an office with solar panels and a battery, billed by time of use and daily peak.

Battery: the round trip of NREL's Annual Technology Baseline. Tariff: the peak hours of PG&E's
business rates and a demand charge by the day as in Con Edison's standby rates. Sun and clouds:
`microgrid_weather`.
"""

import math
from functools import cache, partial

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.sampling import normal, successor
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.microgrid_picture import render
from lepton.environments.scenarios.microgrid_reference import reference
from lepton.environments.scenarios.microgrid_site import (
    DEMAND_HOURS,
    HOURS,
    KILOWATTS,
    OBLIQUITY,
    OFF_PEAK,
    PEAK,
    PRICES,
    START,
    WEAR,
    Site,
    State,
    expected_load,
)
from lepton.environments.scenarios.microgrid_weather import (
    HOUR_PERSISTENCE,
    clear_sun,
    forecast_sky,
    hour_sky,
    mean_sky,
    next_day,
)
from lepton.environments.scores import measure
from lepton.environments.tables import look_up

LOAD_DEVIATION, LOAD_PERSISTENCE = 0.08, 0.6
"""Of the logarithm of an hour's load about what is expected; its autocorrelation by the hour."""
DAY_DEVIATION = 0.2
"""Of the logarithm of a day's load about the profile: how busy the house is, and how hot it is."""


def reset(site: Site, n: int, noise: Array) -> State:
    """A Monday at 0:00 on any day of the year."""
    xp = array_namespace(noise)
    declination = OBLIQUITY * xp.sin((2.0 * math.pi) * noise[:, 0])
    today = normal(noise[:, 1], noise[:, 2])
    tomorrow = next_day(today, noise[:, 3:5])
    zeros = xp.zeros_like(declination)
    hour = xp.astype(zeros, xp.int64)
    busy = xp.exp(DAY_DEVIATION * normal(noise[:, 9], noise[:, 10]))
    busy_tomorrow = xp.exp(DAY_DEVIATION * normal(noise[:, 11], noise[:, 12]))
    load = busy * expected_load(declination, hour)
    return State(
        hour=hour,
        charge=zeros + START * site.capacity,
        peak=zeros,
        plain_peak=zeros,
        load=load,
        sun=zeros,
        grid=load,
        declination=declination,
        load_deviation=zeros,
        cloud_deviation=zeros,
        sky=mean_sky(today),
        forecast=forecast_sky(today, noise[:, 5:7]),
        weather=tomorrow,
        tomorrow_forecast=forecast_sky(tomorrow, noise[:, 7:9]),
        busy=busy,
        busy_tomorrow=busy_tomorrow,
    )


def step(site: Site, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """An hour: the battery charges while the site draws less than the first limit, gives while it
    draws more than the second, and rests between. The reward is the money that it saves."""
    xp = array_namespace(noise)
    hour = state.hour
    load_deviation = successor(state.load_deviation, LOAD_PERSISTENCE, noise[:, 0], noise[:, 1])
    cloud_deviation = successor(state.cloud_deviation, HOUR_PERSISTENCE, noise[:, 2], noise[:, 3])
    expected = state.busy * expected_load(state.declination, hour)
    load = expected * xp.exp(LOAD_DEVIATION * load_deviation)
    sky = hour_sky(state.sky, cloud_deviation)
    sun = site.solar * clear_sun(state.declination, hour) * sky

    net = load - sun
    charge, power = _battery(site, state.charge, net, action)
    grid = net + power
    price = look_up(PRICES, hour, noise)
    counts = look_up(DEMAND_HOURS, hour, noise)
    peak = xp.maximum(state.peak, grid * counts)
    plain_peak = xp.maximum(state.plain_peak, net * counts)
    reward = (
        _energy_cost(price, site.sell_price, net)
        - _energy_cost(price, site.sell_price, grid)
        - WEAR * xp.clip(-power, 0.0, None)
        + site.demand_price * ((plain_peak - state.plain_peak) - (peak - state.peak))
    )
    hour = hour + 1
    ended = hour >= HOURS
    # What is left in the battery at the end is worth what it costs at night.
    reward = reward + xp.where(ended, OFF_PEAK * (charge - START * site.capacity), 0.0)

    midnight = hour % 24 == 0
    weather = next_day(state.weather, noise[:, 4:6])
    forecast = forecast_sky(weather, noise[:, 6:8])
    busy = xp.exp(DAY_DEVIATION * normal(noise[:, 8], noise[:, 9]))
    after = State(
        hour=hour,
        charge=charge,
        peak=xp.where(midnight, 0.0, peak),
        plain_peak=xp.where(midnight, 0.0, plain_peak),
        load=load,
        sun=sun,
        grid=grid,
        declination=state.declination,
        load_deviation=load_deviation,
        cloud_deviation=cloud_deviation,
        sky=xp.where(midnight, mean_sky(state.weather), state.sky),
        forecast=xp.where(midnight, state.tomorrow_forecast, state.forecast),
        weather=xp.where(midnight, weather, state.weather),
        tomorrow_forecast=xp.where(midnight, forecast, state.tomorrow_forecast),
        busy=xp.where(midnight, state.busy_tomorrow, state.busy),
        busy_tomorrow=xp.where(midnight, busy, state.busy_tomorrow),
    )
    return after, reward, ended


def _battery(site: Site, charge: Array, net: Array, action: Array) -> tuple[Array, Array]:
    """The battery's energy after an hour, kWh, and the power that it took (or gave: < 0), kW."""
    xp = array_namespace(charge)
    limits = (action + 1.0) * (0.5 * KILOWATTS)
    charge_below = limits[:, 0]
    discharge_above = xp.maximum(charge_below, limits[:, 1])
    room = xp.clip((site.capacity - charge) / site.one_way, None, site.power)
    left = xp.clip(charge * site.one_way, None, site.power)
    taken = xp.minimum(xp.clip(charge_below - net, 0.0, None), room)
    given = xp.minimum(xp.clip(net - discharge_above, 0.0, None), left)
    charge = charge + taken * site.one_way - given / site.one_way
    # Rounding must not carry it past its limits.
    return xp.clip(charge, 0.0, site.capacity), taken - given


def _energy_cost(price: Array, sell_price: float, power: Array) -> Array:
    """$ for an hour of drawing (or feeding in: < 0) this power, kW."""
    xp = array_namespace(power)
    return xp.where(power > 0.0, price, sell_price) * power


_KNOWN = tuple(
    (
        math.sin(2.0 * math.pi * hour / 24.0),
        math.cos(2.0 * math.pi * hour / 24.0),
        1.0 - hour / HOURS,
        PRICES[min(hour, HOURS - 1)] / PEAK,
        float(DEMAND_HOURS[min(hour, HOURS - 1)]),
        float(DEMAND_HOURS[(24 * (hour // 24) + 36) % HOURS]),
    )
    for hour in range(HOURS + 1)
)
"""What the clock and the calendar tell, by hour: the time of day, the share of the week that is
left, the price, whether demand counts now and whether it will tomorrow."""


def observe(site: Site, state: State) -> Array:
    """What the clock tells and what is metered, shape (n, 18)."""
    xp = array_namespace(state.charge)
    known = look_up(_KNOWN, state.hour, state.charge)
    hour = state.hour % HOURS
    next_load = state.busy * expected_load(state.declination, hour)
    next_sun = site.solar * clear_sun(state.declination, hour) * state.forecast
    metered = xp.stack(
        [
            state.charge / site.capacity,
            state.peak / KILOWATTS,
            state.plain_peak / KILOWATTS,
            state.load / KILOWATTS,
            state.sun / KILOWATTS,
            next_load / KILOWATTS,
            next_sun / KILOWATTS,
            state.declination / OBLIQUITY,
            state.forecast,
            state.tomorrow_forecast,
            state.busy,
            state.busy_tomorrow,
        ],
        axis=1,
    )
    return xp.concat([known, metered], axis=1)


def metrics(state: State) -> dict[str, Array]:
    """The day's demand so far with and without the battery, kW."""
    return {"demand": state.peak, "demand_without_battery": state.plain_peak}


RETURNS = Returns(random=-39.9, reference=110.9)
"""Of the default site."""


@cache
def _returns(site: Site) -> Returns:
    return measure(_scenario(site, None), episodes=1024)


def _scenario(site: Site, returns: Returns | None) -> Scenario[State]:
    return Scenario(
        name="microgrid",
        observation_space=spaces.Box(-np.inf, np.inf, (18,), np.float32),
        action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
        max_steps=HOURS,
        reset=partial(reset, site),
        step=partial(step, site),
        observe=partial(observe, site),
        reset_noise=13,
        step_noise=10,
        reference=partial(reference, site),
        returns=returns,
        render=partial(render, site),
        metrics=metrics,
    )


def scenario(
    capacity: float = Site.capacity,
    power: float = Site.power,
    efficiency: float = Site.efficiency,
    solar: float = Site.solar,
    sell_price: float = Site.sell_price,
    demand_price: float = Site.demand_price,
) -> Scenario[State]:
    """Parameters are those of `Site`."""
    site = Site(capacity, power, efficiency, solar, sell_price, demand_price)
    return _scenario(site, RETURNS if site == Site() else _returns(site))
