"""The microgrid: energy is kept, bills add up, and nothing saves more than the linear programme."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array
from lepton.environments.scenarios import make_scenario
from lepton.environments.scenarios.microgrid import reset, step
from lepton.environments.scenarios.microgrid_bound import most_saved, net_loads
from lepton.environments.scenarios.microgrid_reference import THRESHOLDS, Thresholds, reference
from lepton.environments.scenarios.microgrid_site import HOURS, KILOWATTS, Site, State
from lepton.environments.scores import play, random_returns, reference_returns


def limits(charge_below: float, discharge_above: float, n: int = 1) -> NDArray[np.float32]:
    """The same action n times, from kW."""
    action = np.array([[charge_below, discharge_above]]) / (KILOWATTS / 2) - 1.0
    return action.astype(np.float32).repeat(n, axis=0)


def at(site: Site, hour: int, **parts: float) -> State:
    """An average day at an equinox."""
    state = reset(site, 1, np.zeros((1, 13), np.float32))
    changed = {name: np.array([value], np.float32) for name, value in parts.items()}
    return state._replace(hour=np.array([hour]), **changed)


def test_what_goes_into_the_battery_comes_out_less_the_losses() -> None:
    site, n = Site(efficiency=0.81), 64
    seeds = np.arange(n, dtype=np.int64)
    scenario = make_scenario("microgrid", efficiency=0.81)
    state = scenario.reset(n, uniform(seeds, seeds * 0, scenario.reset_noise))
    for hour in range(HOURS):
        noise = uniform(seeds, seeds * 0 + hour + 1, scenario.step_noise)
        action = uniform(seeds, seeds * 0 - hour - 1, 2) * 2.0 - 1.0
        after, _, _ = scenario.step(state, action, noise)
        power = after.grid - (after.load - after.sun)
        assert np.all(np.abs(power) <= site.power + 1e-3)
        expected = state.charge + np.where(power > 0, power * 0.9, power / 0.9)
        assert np.allclose(after.charge, expected, atol=1e-3)
        state = after


def test_an_hour_at_the_peak_price_is_billed_as_by_hand() -> None:
    site = Site(capacity=60.0, solar=0.0, demand_price=1.5)
    # Tuesday 17:00: 36 kW, of which the battery gives 20; the day's demand was 10 kW so far.
    state = at(site, 41, charge=60.0, peak=10.0, plain_peak=10.0)
    after, reward, _ = step(site, state, limits(0, 16), np.zeros((1, 10), np.float32))
    assert after.grid[0] == pytest.approx(16.0, abs=1e-4)
    assert reward[0] == pytest.approx(20 * 0.36 - 20 * 0.03 + 1.5 * (26 - 6), abs=1e-3)


def test_what_is_drawn_at_night_counts_for_no_demand() -> None:
    site = Site()
    state = at(site, 27, charge=0.0)
    after, reward, _ = step(site, state, limits(42, 60), np.zeros((1, 10), np.float32))
    assert after.grid[0] == pytest.approx(42.0, abs=1e-4)
    assert after.peak[0] == 0.0
    assert reward[0] == pytest.approx(-30 * 0.12, abs=1e-4)


def test_an_empty_battery_that_is_not_charged_saves_nothing() -> None:
    site = Site(solar=0.0)
    after, reward, _ = step(site, at(site, 41, charge=0.0), limits(0, 0), np.zeros((1, 10)))
    assert after.charge[0] == 0.0
    assert reward[0] == 0.0


def test_the_bound_of_an_even_load_is_that_found_by_hand() -> None:
    # 10 kWh without losses, from night (0.12) to evening (0.36), at 0.03 for wear, on 7 days.
    site = Site(capacity=10.0, power=10.0, efficiency=1.0, demand_price=0.0)
    saved = most_saved(site, np.full((1, HOURS), 20.0))
    assert saved[0] == pytest.approx(7 * 10 * (0.36 - 0.12 - 0.03))


def test_no_policy_saves_more_than_the_linear_programme_in_any_week() -> None:
    scenario, weeks = make_scenario("microgrid"), 12
    bound = most_saved(Site(), net_loads(scenario, weeks))
    ours = reference_returns(scenario, weeks)
    assert np.all(ours <= bound + 1e-3)
    assert np.all(random_returns(scenario, weeks) <= bound + 1e-3)
    # Forecasts are worth something, but not everything.
    assert 1.1 * ours.mean() < bound.mean() < 2.0 * ours.mean()


def worth(thresholds: Thresholds) -> float:
    scenario, site = make_scenario("microgrid"), Site()
    saved = play(scenario, lambda state, _: reference(site, state, thresholds), 0, 1024)
    return float(saved.mean())


def test_other_thresholds_save_less() -> None:
    best = worth(THRESHOLDS)
    for field, change, most in (
        ("winter_demand", 3.0, KILOWATTS),
        ("summer_demand", 3.0, KILOWATTS),
        ("winter_weekend", 0.3, 1.0),
        ("summer_weekend", 0.3, 1.0),
        ("evening", 3.0, KILOWATTS),
    ):
        old = getattr(THRESHOLDS, field)
        for new in (old - change, old + change):
            if 0.0 <= new <= most:
                assert worth(THRESHOLDS._replace(**{field: new})) < best, (field, new)


def test_peak_shaving_saves_more_than_using_the_suns_surplus_alone() -> None:
    scenario = make_scenario("microgrid")

    def own_use(state: Any, noise: Array) -> Array:
        return limits(0, 0, len(state.hour))

    assert play(scenario, own_use, 0, 256).mean() < 0.7 * reference_returns(scenario, 256).mean()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"capacity": 0.0}, "capacity must lie within 10 and 500, not 0"),
        ({"efficiency": 1.1}, "efficiency must lie within 0.5 and 1, not 1.1"),
        ({"sell_price": 0.2}, "sell_price must lie within 0 and 0.12, not 0.2"),
    ],
)
def test_a_site_that_cannot_be_is_refused(parameters: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make_scenario("microgrid", **parameters)
