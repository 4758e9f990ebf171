"""supply-chain: units are kept count of, and the reference's levels are the best there are."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenarios.supply_chain import (
    CAPACITY,
    DEMAND,
    LEVELS,
    USUAL,
    Chain,
    State,
    scenario,
)
from lepton.environments.scenarios.supply_levels import Levels, search
from lepton.environments.scores import play

SHOP, FACTORY = 0, -1


def begin(chain: Chain, count: int = 16) -> tuple[State, Any]:
    """First states, and a function from the number of a step to its noise."""
    seeds = np.arange(count, dtype=np.int64)
    state = chain.reset(count, uniform(seeds, seeds * 0, 3 + chain.stages))
    return state, lambda step: uniform(seeds, seeds * 0 + step, 2)


def test_units_that_were_made_are_in_the_chain_or_sold() -> None:
    chain = Chain(stages=3, lead_time=2, season=0.4, penalty=10.0)
    state, noise = begin(chain)
    units = state.stock.sum(1) + state.pipeline.sum((1, 2))
    for step in range(1, 60):
        order = np.full((16, 3), 7.0 + step % 7, np.float32)
        units = units + order[:, FACTORY]
        state, _, _ = chain.step(state, order, noise(step))
    sold = state.demanded - state.owed[:, SHOP]
    assert np.allclose(units, state.stock.sum(1) + state.pipeline.sum((1, 2)) + sold, rtol=1e-4)
    assert state.served.max() > 0.0
    assert (state.served <= sold + 1e-3).all()


def test_a_week_goes_as_computed_by_hand() -> None:
    chain = Chain(stages=2, lead_time=1, season=0.0, penalty=10.0)
    state, noise = begin(chain, count=1)
    state = state._replace(
        stock=np.array([[1.0, 4.0]]), owed=np.array([[2.0, 0.0]]), pipeline=np.array([[[3.0, 5.0]]])
    )
    after, reward, _ = chain.step(state, np.array([[12.0, 6.0]]), noise(1))
    demand = float(after.demand[0])
    assert demand > 3.0
    # The shop has 4 for the customers, of whom some wait from before; the factory 9 for the shop.
    assert after.stock[0] == pytest.approx([0.0, 0.0])
    assert after.owed[0] == pytest.approx([2.0 + demand - 4.0, 12.0 - 9.0])
    assert after.pipeline[0, 0] == pytest.approx([9.0, 6.0])
    holding = 9.0 * 0.5  # on the way to the shop, at the factory's rate
    cost = holding + 10.0 * (demand - 2.0) + 0.2 * (9.0 + 6.0)
    assert reward[0] == pytest.approx(-cost)


def test_orders_bring_echelons_up_to_their_levels_within_the_capacity() -> None:
    state, _ = begin(USUAL)
    order = USUAL.base_stock(LEVELS, state)
    missing = np.array(LEVELS) - USUAL.position(state)
    assert order.min() >= 0.0
    assert order.max() == CAPACITY
    within = (missing > 0.0) & (missing < CAPACITY)
    assert np.allclose(order[within], missing[within])
    # What a stage has ordered counts, whether or not the stage above can send it.
    promised = state._replace(owed=state.owed + np.array([0.0, 5.0, 0.0, 0.0]))
    assert (USUAL.position(promised) - USUAL.position(state))[0] == pytest.approx([5.0, 0, 0, 0])


def test_demand_has_its_yearly_average_and_peaks_in_the_season() -> None:
    state, noise = begin(USUAL, count=2048)
    nothing = np.zeros((2048, 4), np.float32)
    total, summer = 0.0, 0.0
    for step in range(1, 53):
        week = state.week
        state, _, _ = USUAL.step(state, nothing, noise(step))
        total += float(state.demand.mean())
        summer += float(state.demand[(week >= 10) & (week <= 16)].mean())
    assert total / 52 == pytest.approx(DEMAND, rel=0.03)
    assert summer / 52 == pytest.approx(1.39 * DEMAND, rel=0.05)


def value(levels: Levels) -> float:
    """Mean return of levels in episodes that they were not searched with."""
    made = scenario()
    return float(play(made, lambda s, _: USUAL.base_stock(levels, s), 0, 512, seed=10**6).mean())


def test_no_level_of_the_reference_is_better_a_tenth_higher_or_lower() -> None:
    best = value(LEVELS)
    for stage in range(4):
        for factor in (0.9, 1.1):
            levels = tuple(v * factor if i == stage else v for i, v in enumerate(LEVELS))
            assert value(levels) < best


def test_levels_that_follow_the_season_beat_the_best_constant_ones() -> None:
    ahead = np.arange(9)

    def seasonal(state: State, _: Any) -> Any:
        usual = DEMAND * USUAL.usual((state.week[:, None] + ahead) % 52)
        forecast = np.cumsum(usual, axis=1)[:, [2, 4, 6, 8]] + np.array([15, 20, 27, 36])
        return np.clip(forecast - USUAL.position(state), 0.0, CAPACITY)

    assert play(scenario(), seasonal, 0, 512, seed=10**6).mean() > 0.9 * value(LEVELS)


def test_the_search_climbs_to_the_top_of_a_ridge() -> None:
    def ridge(levels: Levels) -> float:
        first, second = levels
        return -((first - 30.0) ** 2) - 5.0 * (second - first - 12.0) ** 2

    assert search(ridge, (5.0, 5.0), step=8.0, finest=0.5) == pytest.approx((30.0, 42.0), abs=0.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stages": 1}, "stages must be a whole number from 2 to 6, not 1"),
        ({"lead_time": 0}, "lead_time must be a whole number of weeks from 1 to 4, not 0"),
        ({"season": 1.0}, "season must be from 0 to 0.8, not 1.0"),
        ({"penalty": 0.5}, "penalty must be above 1 and at most 100, not 0.5"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenario(**parameters)


def test_other_chains_have_levels_and_returns_of_their_own() -> None:
    made = scenario(stages=2, lead_time=1)
    assert made.returns is not None
    assert made.returns.random < 2.0 * made.returns.reference < 0.0
    assert made.reference is not None
    state = made.reset(3, np.full((3, 5), 0.5, np.float32))
    assert made.reference(state).shape == (3, 2)
