"""production-line: hours of work are kept count of, lateness is charged once, and no dispatching
rule does better than the reference."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Scenario
from lepton.environments.scenarios.production_line import PARAMETERS, USUAL, scenario
from lepton.environments.scenarios.production_line_orders import (
    EMPTY,
    FAMILIES,
    HOURS_AFTER,
    MACHINES,
    PENALTIES,
    SLOTS,
    UNIT_HOURS,
)
from lepton.environments.scenarios.production_line_rules import (
    RULES,
    Priority,
    atc,
    covert,
    dispatch,
    staying,
)
from lepton.environments.scenarios.production_line_shop import Shop, State
from lepton.environments.scores import play

QUIET: NDArray[np.float32] = np.full((1, 3 + MACHINES), 0.999, np.float32)
"""Noise with which no order comes, no machine breaks, and none is mended."""


def shop_with(*orders: tuple[int, int, float, float]) -> State:
    """Orders of four units, each as family, stage, hours left of it, due hour; all machines are
    set up for the first of their families."""
    state = USUAL.reset(1, np.zeros((1, 44), np.float32))
    parts = {name: np.full((1, FAMILIES, SLOTS), value) for name, value in EMPTY._asdict().items()}
    filled = [0] * FAMILIES
    for family, stage, left, due in sorted(orders, key=lambda order: order[3]):
        place = (0, family, filled[family])
        filled[family] += 1
        for name, value in (("stage", stage), ("left", left), ("due", due), ("units", 4.0)):
            parts[name][place] = value
    return state._replace(**{name: v.astype(np.float32) for name, v in parts.items()})


def hours_of_work(state: State) -> NDArray[np.float32]:
    """Hours that all orders in the shop still need, (n,)."""
    after = np.array([[*row, 0.0] for row in HOURS_AFTER])
    later = np.stack([after[f, state.stage[:, f].astype(int)] for f in range(FAMILIES)], axis=1)
    total: NDArray[np.float32] = (state.left + state.units * later).sum((1, 2))
    return total


def turn_to(*choices: int) -> NDArray[np.int64]:
    return np.array([choices], np.int64)


def test_what_came_is_worked_off_or_in_the_shop() -> None:
    n = 64
    shop = Shop(load=0.9, tightness=2.0, uptime=10.0, changeover=0.25)
    seeds = np.arange(n, dtype=np.int64)
    state = shop.reset(n, uniform(seeds, seeds * 0, 44))
    worked = 0.0
    for hour in range(100):
        noise = uniform(seeds, seeds * 0 + 1 + hour, 7)
        action = np.floor(3 * uniform(seeds, seeds * 0 - 1 - hour, MACHINES)).astype(np.int64)
        alone, _, _ = shop.step(state, action, np.where(np.arange(7) == 0, 0.999, noise))
        done = hours_of_work(state) - hours_of_work(alone)
        capacity = (state.up * (1.0 + state.ahead)).sum(1)
        assert np.all(done <= capacity + 1e-3)
        assert np.all(done >= -1e-3)
        worked += float(done.mean())
        after, _, _ = shop.step(state, action, noise)
        came = hours_of_work(after) - hours_of_work(alone)
        new = (after.units > 0).sum((1, 2)) - (alone.units > 0).sum((1, 2))
        assert set(new.tolist()) <= {0, 1}
        assert np.allclose(came[new == 0], 0.0, atol=1e-3)
        assert np.all(came[new == 1] >= 2 * min(map(sum, UNIT_HOURS)) - 1e-3)
        state = after
    assert worked > 100.0


def test_slots_stay_in_the_order_of_due_dates_with_empty_ones_last() -> None:
    n = 64
    seeds = np.arange(n, dtype=np.int64)
    state = USUAL.reset(n, uniform(seeds, seeds * 0, 44))
    for hour in range(100):
        assert np.all(np.diff(state.due, axis=2) >= 0.0)
        empty = state.units == 0.0
        assert np.array_equal(empty, state.stage == EMPTY.stage)
        assert np.array_equal(empty, state.due == EMPTY.due)
        assert np.array_equal(empty, state.left < 1e-3)
        action = np.floor(3 * uniform(seeds, seeds * 0 - 1 - hour, MACHINES)).astype(np.int64)
        state, _, _ = USUAL.step(state, action, uniform(seeds, seeds * 0 + 1 + hour, 7))
    assert state.lost.max() > 0.0


def test_a_changeover_takes_its_part_of_the_hour() -> None:
    # Families 0 and 1 wait at machine 0, which is set up for 0.
    state = shop_with((0, 0, 3.0, 90.0), (1, 2, 4.0, 90.0))
    after, _, _ = USUAL.step(state, turn_to(1, 0, 0, 0), QUIET)
    assert after.left[0, 1, 0] == pytest.approx(4.0 - 0.5)
    assert after.left[0, 0, 0] == pytest.approx(3.0)
    assert after.setting[0, 0] == 1
    after, _, _ = USUAL.step(after, turn_to(1, 0, 0, 0), QUIET)
    assert after.left[0, 1, 0] == pytest.approx(4.0 - 1.5)


def test_an_order_goes_on_to_its_next_machine_and_the_rest_of_the_hour_is_not_lost() -> None:
    state = shop_with((0, 0, 0.25, 80.0), (0, 0, 3.0, 90.0))
    state, _, _ = USUAL.step(state, turn_to(0, 0, 0, 0), QUIET)
    assert state.stage[0, 0, :2].tolist() == [1.0, 0.0]
    assert state.left[0, 0, :2] == pytest.approx([4 * UNIT_HOURS[0][1], 3.0])
    assert state.ahead[0, 0] == pytest.approx(0.75)
    state, _, _ = USUAL.step(state, turn_to(0, 0, 0, 0), QUIET)
    assert state.left[0, 0, 1] == pytest.approx(3.0 - 1.75)


def test_where_nothing_waits_a_machine_turns_to_what_is_due_first() -> None:
    # Families 0, 1 and 3 come to machine 0; none of family 1 waits there.
    state = shop_with((0, 0, 3.0, 50.0), (3, 1, 3.0, 40.0))
    after, _, _ = USUAL.step(state, turn_to(1, 0, 0, 0), QUIET)
    assert after.left[0, 0, 0] == pytest.approx(3.0)
    assert after.left[0, 3, 0] == pytest.approx(2.5)


def test_a_machine_that_is_down_does_nothing_until_it_is_mended() -> None:
    state = shop_with((0, 0, 3.0, 50.0))._replace(up=np.zeros((1, MACHINES), np.bool_))
    state, _, _ = USUAL.step(state, turn_to(0, 0, 0, 0), QUIET)
    assert state.left[0, 0, 0] == pytest.approx(3.0)
    assert not state.up.any()
    mending = QUIET.copy()
    mending[0, 3] = 0.3
    state, _, _ = USUAL.step(state, turn_to(0, 0, 0, 0), mending)
    assert state.up[0].tolist() == [True, False, False, False]


@pytest.mark.parametrize(("due", "late"), [(11.0, 0.0), (7.0, 2.0), (-4.0, 13.0)])
def test_the_rewards_of_an_orders_hours_add_up_to_the_price_of_its_lateness(
    due: float, late: float
) -> None:
    # Family 3 at its second stage: 3 hours on machine 0, 4 on machine 3, each after half an hour
    # of changeover that ends within an hour begun.
    state = shop_with((3, 1, 3.0, 20.0 + due))._replace(hour=np.array([20.0], np.float32))
    already = max(0.0, 7.0 - due)
    total = 0.0
    for _ in range(10):
        state, reward, _ = USUAL.step(state, turn_to(2, 0, 0, 2), QUIET)
        total += float(reward[0])
    assert state.done[0] == 1.0
    assert state.late[0] == (late > 0.0)
    assert total == pytest.approx(-PENALTIES[3] * (max(0.0, 9.0 - due) - already))


def test_an_order_that_finds_no_slot_is_turned_away_at_a_price() -> None:
    state = shop_with(*((2, 0, 3.0, 90.0 + i) for i in range(SLOTS)))
    noise = QUIET.copy()
    noise[0, 0] = 2.5 * USUAL.arrivals / FAMILIES
    after, reward, _ = USUAL.step(state, turn_to(0, 0, 0, 1), noise)
    assert after.lost[0] == 1.0
    assert reward[0] == pytest.approx(-24.0 * PENALTIES[2])


def test_orders_bring_the_load_that_was_asked_for() -> None:
    shop = Shop(load=0.6, tightness=3.0, uptime=9.0, changeover=0.0)
    # Machines are up for 9 of 12 hours, and work that comes for each is a quarter of all.
    work = shop.arrivals * 4.0 * sum(map(sum, UNIT_HOURS)) / FAMILIES
    assert work / MACHINES == pytest.approx(0.6 * 0.75)


def value(made: Scenario[State], priority: Priority, episodes: int) -> float:
    """Mean return of a rule in episodes that its parameters were not searched with."""

    def policy(state: State, _: Array) -> Array:
        return dispatch(state, priority)

    return float(play(made, policy, 0, episodes, seed=10**6).mean())


def by_atc(*parameters: Any) -> Priority:
    return lambda facts: atc(facts, *parameters)


def test_no_other_rule_does_better_than_the_reference() -> None:
    made = scenario()
    searched = {"COVERT": lambda f: covert(f, 2.0), "ATC": by_atc(1.5, 0.5, 0.0)}
    for rules, episodes in ((RULES, 64), (searched, 256)):
        best = value(made, by_atc(*PARAMETERS), episodes)
        for name, rule in rules.items():
            assert value(made, rule, episodes) < best, name
            assert value(made, staying(rule), episodes) < best, name


def test_the_reference_has_parameters_of_which_none_is_better_much_smaller_or_larger() -> None:
    made = scenario()
    best = value(made, by_atc(*PARAMETERS), 512)
    for i, values in enumerate(((0.5, 4.0), (0.0, 1.5), (0.0, 1.2))):
        for other in values:
            changed = [*PARAMETERS[:i], other, *PARAMETERS[i + 1 :]]
            assert value(made, by_atc(*changed), 512) < best


def test_other_shops_have_rules_and_returns_of_their_own() -> None:
    made = scenario(load=0.6, changeover=0.0)
    assert made.returns is not None
    assert made.returns.random < made.returns.reference < 0.0
    usual = scenario().returns
    assert usual is not None
    assert made.returns.reference > usual.reference


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"load": 1.0}, "load must be from 0.3 to 0.95, not 1.0"),
        ({"tightness": 0.5}, "tightness must be from 1 to 8, not 0.5"),
        ({"uptime": 0.0}, "uptime must be from 4 to 10000, not 0.0"),
        ({"changeover": 1.5}, "changeover must be from 0 to 1, not 1.5"),
    ],
)
def test_impossible_shops_are_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenario(**parameters)
