"""Irrigation: the water balance, the yield and the weather are those of their sources."""

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenarios import make_scenario
from lepton.environments.scenarios.irrigation import DRY_DAY, START, reference, reset, step
from lepton.environments.scenarios.irrigation_field import (
    REFERENCE_EVAPOTRANSPIRATION,
    STAGE_NEED,
    TURN,
    TURNS,
    Field,
    State,
    yield_share,
)
from lepton.environments.scores import play, reference_returns

MIDSUMMER = 31
"""A turn whose days have the full crop coefficient, 1.2, and the full root depth, 1 m."""


def dry(field: Field, turn: int, depletion: float) -> State:
    """A field before a turn without rain and with the average evaporation of dry days."""
    state = reset(field, 1, np.zeros((1, 9), np.float32))
    return state._replace(
        turn=np.array([turn]),
        depletion=np.array([depletion], np.float32),
        rain=np.zeros((1, TURN), np.float32),
    )


def turn_of(field: Field, state: State, tens: int) -> tuple[State, float]:
    after, reward, _ = step(field, state, np.array([tens]), np.zeros((1, 7), np.float32))
    return after, float(reward[0])


def needs(turn: int) -> list[float]:
    days = range(turn * TURN, (turn + 1) * TURN)
    return [1.2 * REFERENCE_EVAPOTRANSPIRATION[day] * DRY_DAY for day in days]


def test_a_crop_that_has_enough_takes_what_it_needs_out_of_the_soil() -> None:
    field = Field(water_price=2.0, turn_price=10.0)
    after, reward = turn_of(field, dry(field, MIDSUMMER, 40.0), 2)
    assert after.depletion[0] == pytest.approx(40.0 - 20.0 * 0.85 + sum(needs(MIDSUMMER)), rel=1e-5)
    assert after.deficit[0] == 0.0
    assert reward == pytest.approx(-(20.0 * 2.0 + 10.0))


def test_a_crop_that_lacks_water_takes_less_as_in_fao_56() -> None:
    field = Field(soil=150.0)
    state = dry(field, MIDSUMMER, 120.0)
    depletion, lacked = 120.0, 0.0
    for need in needs(MIDSUMMER):
        p = 0.55 + 0.04 * (5.0 - need)
        coefficient = (150.0 - depletion) / ((1.0 - p) * 150.0)
        assert 0.0 < coefficient < 0.6
        depletion, lacked = depletion + coefficient * need, lacked + (1.0 - coefficient) * need
    after, reward = turn_of(field, state, 0)
    assert after.depletion[0] == pytest.approx(depletion, rel=1e-5)
    assert after.deficit[0] == pytest.approx(lacked, rel=1e-5)
    lost = 0.5 * lacked / STAGE_NEED[MIDSUMMER]  # FAO-33: 0.5 in yield formation
    assert reward == pytest.approx(-12.0 * 170.0 * lost, rel=1e-3)


def test_water_beyond_field_capacity_is_lost() -> None:
    field = Field()
    one, _ = turn_of(field, dry(field, MIDSUMMER, 10.0), 2)
    other, _ = turn_of(field, dry(field, MIDSUMMER, 10.0), 5)
    assert one.depletion[0] == other.depletion[0]


def test_a_heavy_storm_runs_off_in_part() -> None:
    field = Field()
    state = dry(field, MIDSUMMER, 90.0)
    stormy = state._replace(rain=np.array([[60.0, 0.0, 0.0]], np.float32))
    after, _ = turn_of(field, stormy, 0)
    # Curve number 75: S = 84.7 mm, and (60 - 16.9)² / (60 + 67.7) = 14.5 mm run off.
    soaked = 90.0 - (60.0 - 14.5)
    first, second, third = needs(MIDSUMMER)
    used = first * 0.75 / DRY_DAY + second + third
    assert after.deficit[0] == 0.0
    assert after.depletion[0] == pytest.approx(soaked + used, abs=0.1)


def test_half_the_water_in_flowering_leaves_a_quarter_of_the_yield() -> None:
    flowering = 69 // TURN
    state = dry(Field(), flowering, 0.0)
    stressed = state._replace(deficit=np.array([STAGE_NEED[flowering] / 2], np.float32))
    assert yield_share(stressed)[0] == pytest.approx(1.0 - 1.5 * 0.5)


def test_a_season_has_as_much_rain_as_the_chain_of_wet_and_dry_days_makes() -> None:
    scenario, n = make_scenario("irrigation"), 2048
    seeds = np.arange(n, dtype=np.int64)
    state = scenario.reset(n, uniform(seeds, seeds * 0, scenario.reset_noise))
    days = []
    for turn in range(TURNS):
        days.append(state.rain)
        noise = uniform(seeds, seeds * 0 + turn + 1, scenario.step_noise)
        state, _, ended = scenario.step(state, seeds * 0, noise)
    assert ended.all()
    rain = np.concatenate(days, axis=1)
    wet = rain > 0.0
    assert wet[:, 1:][wet[:, :-1]].mean() == pytest.approx(0.38, abs=0.01)
    assert wet[:, 1:][~wet[:, :-1]].mean() == pytest.approx(0.22, abs=0.01)
    assert rain[wet].mean() == pytest.approx(9.0, rel=0.01)
    assert np.allclose(state.fallen, rain.sum(axis=1), rtol=1e-4)


def test_the_reference_irrigates_at_the_best_depletion_and_beats_doing_nothing() -> None:
    scenario, field = make_scenario("irrigation"), Field()

    def worth(start: float) -> float:
        return play(scenario, lambda s, _: reference(field, s, start), 0).mean()

    assert worth(START) > max(worth(START - 0.05), worth(START + 0.05))
    never = play(scenario, lambda s, _: np.zeros(len(s.turn), np.int64), 0).mean()
    assert reference_returns(scenario).mean() > never / 2


def test_a_field_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="soil must lie within 50 and 250, not 10"):
        make_scenario("irrigation", soil=10.0)
