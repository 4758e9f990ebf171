"""The credit-limits scenario: where accounts go, what a month earns, and the reference rule."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.scenarios import make_scenario
from lepton.environments.scenarios.card_customers import MAX_LIMIT, MIN_LIMIT, rolled
from lepton.environments.scenarios.credit_limits import (
    CHOICES,
    CUT,
    KEEP,
    RAISE,
    RULE,
    static_rule,
)
from lepton.environments.scores import play, reference_returns
from lepton.environments.search import candidate_returns


def begun(count: int, months: int = 0, **parameters: Any) -> BatchedVectorEnv:
    """After some months in which every limit was kept."""
    batch = BatchedVectorEnv(make_scenario("credit-limits", **parameters), count)
    batch.reset(seed=0)
    for _ in range(months):
        batch.step(np.full(count, KEEP))
    return batch


def test_shares_of_customers_add_up_and_accounts_are_never_opened_again() -> None:
    batch = begun(256)
    actions = np.random.default_rng(0).integers(0, 3, (60, 256))
    for action in actions[:59]:
        before = batch._state
        *late, default = rolled(before)
        batch.step(action)
        after = batch._state
        for share in (*late, default):
            assert (share >= 0).all()
        assert (sum(late) + default <= 1).all()
        # What has not defaulted or been closed is still open; at most 2.2 % are closed.
        kept = after.open / before.open
        assert (kept <= 1 - default + 1e-6).all()
        assert (kept >= 1 - default - 0.0221).all()


def test_what_a_month_earns_is_what_a_hand_calculation_gives() -> None:
    batch = begun(1)
    state = batch._state._replace(
        limit=np.full(1, 2000.0, np.float32),
        committed=np.full(1, 2000.0, np.float32),
        balance=np.full(1, 1200.0, np.float32),
        need=np.full(1, 940.0, np.float32),
        late_3=np.full(1, 0.1, np.float32),
        full_payers=np.full(1, 0.5, np.float32),
        open=np.full(1, 0.5, np.float32),
    )
    after, reward, _ = batch.scenario.step(state, np.array([KEEP]), np.full((1, 3), 0.5))
    late_1, _, _, default = (float(share[0]) for share in rolled(state))
    # Customers want 940 + 0.13 * 2000 = 1200, which is what they have.
    assert after.balance[0] == pytest.approx(1200.0)
    interest = 1200 * 0.2 / 12 * 0.5 * (1 - late_1 - default)
    funding = 1200 * 0.04 / 12
    interchange = 0.003 * (0.05 + 0.95 * 0.5) * 1200
    undrawn = 800 * 0.01 / 12
    loss = default * 0.8 * (1200 + 0.8 * 800)
    result = interest + interchange - funding - undrawn - 2.0 - loss
    assert reward[0] == pytest.approx(0.5 * result, rel=1e-4)
    assert default > 0.01

    # A change costs 3 euros. At the lower limit customers want 52 less, a quarter of which they do
    # not buy this month; less is left undrawn, and late customers have less to draw on.
    _, cut, _ = batch.scenario.step(state, np.array([CUT]), np.full((1, 3), 0.5))
    saved = (800 - 413) * 0.01 / 12 + default * 0.8 * 0.8 * 0.15 * 400
    assert cut[0] - reward[0] == pytest.approx(0.5 * (saved - 3.0 - 0.003 * 13), rel=1e-3)


def test_limits_stay_within_their_bounds_and_a_change_to_none_costs_nothing() -> None:
    batch = begun(2)
    for _ in range(30):
        batch.step(np.array([CUT, RAISE]))
    assert batch._state.limit.tolist() == [MIN_LIMIT, MAX_LIMIT]
    noise = np.full((2, 3), 0.5)
    at_bounds = batch.scenario.step(batch._state, np.array([CUT, RAISE]), noise)[1]
    assert np.array_equal(at_bounds, batch.scenario.step(batch._state, np.full(2, KEEP), noise)[1])


def test_defaults_rise_with_risk_and_in_recession() -> None:
    state = begun(4, months=6)._state
    state = state._replace(
        late_3=np.full(4, 0.02, np.float32),
        risk=np.array([-1, 0, 1, 0], np.float32),
        recession=np.array([0, 0, 0, 1], np.float32),
    )
    low, middle, high, in_recession = rolled(state)[3]
    assert low < middle < high
    assert in_recession > middle


def test_no_number_of_the_reference_rule_can_be_changed_alone_to_earn_more() -> None:
    scenario = make_scenario("credit-limits")
    for i, values in enumerate(CHOICES):
        candidates = np.array([[*RULE[:i], value, *RULE[i + 1 :]] for value in values], np.float32)
        returns = candidate_returns(scenario, static_rule, candidates, 512)
        best = returns[values.index(RULE[i])]
        # Thresholds that hardly differ on these groups may swap places.
        assert (returns <= best + 3.0).all()


def test_the_reference_earns_more_than_one_action_for_all() -> None:
    scenario = make_scenario("credit-limits")
    reference = reference_returns(scenario, 1024).mean()
    for action in (CUT, KEEP, RAISE):
        same = play(scenario, lambda s, _, a=action: np.full(len(s.limit), a), 0, 1024)
        assert same.mean() < reference - 100


def test_another_lender_has_a_rule_and_a_scale_of_its_own() -> None:
    cautious = make_scenario("credit-limits", interest=0.12)
    assert cautious.returns is not None
    assert cautious.reference is not None
    usual = reference_returns(make_scenario("credit-limits", interest=0.2), 512)
    assert cautious.returns.random < cautious.returns.reference < usual.mean()
    # Where lending earns less, no more limits are raised.
    state = begun(512, months=12)._state
    raised = make_scenario("credit-limits").reference(state) == RAISE  # type: ignore[misc]
    assert (cautious.reference(state) == RAISE).sum() <= raised.sum()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"months": 6}, "months is a whole number from 12 to 240, not 6"),
        ({"interest": 20}, "interest is a share between 0 and 1, not 20"),
        ({"loss_given_default": -0.1}, r"loss_given_default is a share between 0 and 1, not -0\.1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_scenario("credit-limits", **parameters)
