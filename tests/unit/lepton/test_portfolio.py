"""The portfolio scenario: accounts, markets from files, and the allocation it is held against."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.scenarios import make_scenario
from lepton.environments.scenarios.portfolio_market import made_up_market, read_market
from lepton.environments.scenarios.portfolio_reference import best_allocation, path_growth
from lepton.environments.scores import play, reference_returns


def write_prices(folder: Path, rows: list[tuple[Any, ...]], names: str = "one,two") -> str:
    file = folder / "prices.csv"
    file.write_text("\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(file)


def random_walk(rows: int) -> list[tuple[Any, ...]]:
    steps = np.random.default_rng(0).normal([0.004, 0.001], [0.03, 0.02], (rows, 2))
    prices: list[tuple[Any, ...]] = [tuple(row) for row in np.exp(steps.cumsum(axis=0)).tolist()]
    return prices


def test_wealth_is_what_a_hand_calculation_gives(tmp_path: Path) -> None:
    # Asset one doubles and halves, asset two stands still.
    prices = write_prices(tmp_path, [(1.0 + i % 2, 5.0) for i in range(40)])
    batch = BatchedVectorEnv(make_scenario("portfolio", prices=prices, periods=2, cost=0.01), 32)
    batch.reset(seed=0)
    rising = batch._state.row % 2 == 0
    assert 0 < rising.sum() < 32

    _, reward, _, _, _ = batch.step(np.full((32, 2), (0.5, 0.25), np.float32))
    # Three quarters of the wealth are bought at 1 %; then half of it doubles or halves.
    expected = math.log(1 - 0.0075) + np.where(rising, math.log(1.5), math.log(0.75))
    assert np.allclose(reward, 100 * expected, atol=1e-4)
    # What is held has moved with prices, and keeping exactly that costs nothing.
    held = batch._state.held
    assert np.allclose(held[rising], (1.0 / 1.5, 0.25 / 1.5))
    paid = batch.metrics()["costs"]
    after, _, _ = batch.scenario.step(batch._state, held, np.zeros((32, 0), np.float32))
    assert np.allclose(after.paid, paid)
    # In the next period the price is back, and so is all but the cost.
    assert np.allclose(np.exp(after.growth), 0.9925, atol=1e-4)


def test_actions_that_ask_for_more_than_there_is_are_scaled_down() -> None:
    batch = BatchedVectorEnv(make_scenario("portfolio", cost=0.0), 4)
    batch.reset(seed=0)
    all_in, half = np.ones((4, 3), np.float32), np.full((4, 3), 0.5, np.float32)
    state, noise = batch._state, np.zeros((4, 0), np.float32)
    assert np.allclose(
        batch.scenario.step(state, all_in, noise)[1], batch.scenario.step(state, half, noise)[1]
    )


def test_no_neighbour_of_the_reference_allocation_grows_faster_in_training() -> None:
    market, cost = made_up_market(), 0.002
    relatives = np.exp(market.returns[: market.train])

    def growth(shares: Any) -> float:
        targets = np.broadcast_to(np.array(shares), relatives.shape)
        return float(sum(part.mean() for part in path_growth(targets, relatives, cost)))

    best = np.array([*best_allocation(market, cost), 0.0])
    best[-1] = 1.0 - best.sum()
    for source, sink in np.ndindex(4, 4):
        moved = best.copy()
        moved[source] -= 0.02
        moved[sink] += 0.02
        if moved.min() >= 0.0 and source != sink:
            assert growth(moved[:-1]) < growth(best[:-1])


def test_the_reference_beats_holding_one_asset_or_an_equal_share_of_each() -> None:
    scenario = make_scenario("portfolio")
    reference = reference_returns(scenario, 1024).mean()
    for shares in (*np.eye(3, dtype=np.float32), np.full(3, 1 / 3, np.float32)):
        naive = play(scenario, lambda state, _, s=shares: np.tile(s, (len(state.row), 1)), 0, 1024)
        assert naive.mean() < reference


def test_the_two_parts_of_a_market_share_no_period(tmp_path: Path) -> None:
    prices = write_prices(tmp_path, random_walk(101))
    seen = []
    for part in ("train", "test"):
        batch = BatchedVectorEnv(
            make_scenario("portfolio", prices=prices, part=part, periods=5), 64
        )
        batch.reset(seed=0)
        rows = {int(row) for row in batch._state.row}
        for _ in range(4):
            batch.step(np.ones((64, 2), np.float32))
            rows |= {int(row) for row in batch._state.row}
        seen.append(rows)
    assert seen[0] == set(range(70))
    assert seen[1] == set(range(70, 100))


def test_features_know_nothing_of_later_prices(tmp_path: Path) -> None:
    rows = random_walk(101)
    before = read_market(write_prices(tmp_path, rows)).features
    rows[90] = (50.0, 50.0)
    after = read_market(write_prices(tmp_path, rows)).features
    # Row t is what is known before return t; return 89 is the first that price 90 is part of.
    assert np.array_equal(before[:90], after[:90])
    assert not np.array_equal(before[90], after[90])


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        ("one,two", [], "has 0 rows of prices"),
        ("one,two", [(1, 1)] * 20, "has 20 rows of prices, and needs 21 at least"),
        ("one,two", [(1, 1), (1, 0)], "line 3 of .*: the price 0 of two is not above 0"),
        ("one,two", [(1, 1), (1, -2)], "the price -2 of two is not above 0"),
        ("date,one", [("2020-01-01", 1)], "'2020-01-01' in column date is not a number"),
        ("one,two", [(1, "nan")], "'nan' in column two is not a number"),
        ("one,two", [(1, 1, 1)], "line 2 of .* has 3 values for 2 assets"),
        ("1,2", [(1, 2)], "first line of .* must name each asset"),
        ("one,one", [(1, 2)], "first line of .* must name each asset"),
    ],
)
def test_a_file_that_holds_no_market_is_refused_with_the_place_that_is_wrong(
    tmp_path: Path, names: str, rows: list[tuple[Any, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_scenario("portfolio", prices=write_prices(tmp_path, rows, names))


def test_parameters_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file nowhere\.csv"):
        make_scenario("portfolio", prices="nowhere.csv")
    with pytest.raises(ValueError, match="part is train or test, not both"):
        make_scenario("portfolio", part="both")
    with pytest.raises(ValueError, match=r"cost is a share between 0 and 0\.1"):
        make_scenario("portfolio", cost=0.5)
    short = write_prices(tmp_path, random_walk(101))
    with pytest.raises(ValueError, match="periods is a whole number from 2 to 30, not 260"):
        make_scenario("portfolio", prices=short)
    flat = write_prices(tmp_path, [(1, 1)] * 40)
    with pytest.raises(ValueError, match="there is nothing to learn"):
        make_scenario("portfolio", prices=flat, periods=5, cost=0.0)
