"""The fraud-screening scenario: what decisions cost, when labels arrive, what a score means."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.noise import uniform
from lepton.environments.scenarios import make_scenario
from lepton.environments.scenarios.fraud_orders import ORDERS_PER_HOUR, SEGMENTS, next_order
from lepton.environments.scenarios.fraud_screening import (
    MEMORY,
    RETURNS,
    THRESHOLD,
    hold_above,
)
from lepton.environments.scores import play
from lepton.environments.search import candidate_returns

RELEASE, HOLD = 0, 1


def begun(count: int, **parameters: Any) -> BatchedVectorEnv:
    batch = BatchedVectorEnv(make_scenario("fraud-screening", **parameters), count)
    batch.reset(seed=0)
    return batch


def test_what_a_decision_costs_follows_from_the_order() -> None:
    batch = begun(6)
    state = batch._state._replace(
        amount=np.full(6, 100.0, np.float32),
        fraud=np.array([True, True, True, False, False, False]),
        capacity=np.array([4, 4, 0, 4, 4, 0], np.float32),
    )
    action = np.array([RELEASE, HOLD, HOLD, RELEASE, HOLD, HOLD])
    noise = np.full((6, 5), 0.5, np.float32)
    after, reward, _ = batch.scenario.step(state, action, noise)
    # Fraud: amount and fee, or a review; without a reviewer an order can't be held.
    assert reward.tolist() == [-120.0, -4.0, -120.0, 0.0, -9.0, 0.0]
    assert after.lost.tolist() == [120.0, 0.0, 120.0, 0.0, 0.0, 0.0]
    assert after.saved.tolist() == [0.0, 100.0, 0.0, 0.0, 0.0, 0.0]
    assert after.capacity.tolist() == [4.0, 3.0, 0.0, 4.0, 3.0, 0.0]


def test_the_score_is_the_share_of_frauds_among_its_like_as_long_as_there_is_no_campaign() -> None:
    count = 2**18
    rows = np.arange(count, dtype=np.int64)
    noise = uniform(rows, np.zeros_like(rows), 5)
    none = np.full(count, len(SEGMENTS))
    # At any time of the day.
    logit, _, _, fraud = next_order(rows % 480, none, noise)
    score = 1 / (1 + np.exp(-logit))
    for low, high in ((0.0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.6), (0.6, 1.0)):
        alike = (score >= low) & (score < high)
        expected = score[alike].mean()
        error = (expected / alike.sum()) ** 0.5
        assert abs(fraud[alike].mean() - expected) < 4 * error


def test_a_campaign_brings_frauds_to_its_segment_that_the_score_underrates() -> None:
    count = 2**16
    rows = np.arange(count, dtype=np.int64)
    noise = uniform(rows, np.zeros_like(rows), 5)
    logit, _, segment, fraud = next_order(rows % 480, np.ones_like(rows), noise)
    score = 1 / (1 + np.exp(-logit))
    assert fraud[segment == 1].mean() > 3 * score[segment == 1].mean()
    assert fraud[segment != 1].mean() < 0.03


@pytest.mark.parametrize("delay", [1, 3])
def test_frauds_that_were_released_are_known_after_the_delay_and_held_ones_within_the_hour(
    delay: int,
) -> None:
    batch = begun(64, label_delay=delay)
    hours = delay + 2
    released, held = np.zeros((hours, 64, 3)), np.zeros((64, 3))
    for hour in range(hours):
        for order in range(ORDERS_PER_HOUR):
            state = batch._state
            fraud = np.eye(3)[state.segment] * state.fraud[:, None]
            hold = hour == 0 and order < 4
            if hold:
                held += fraud
            else:
                released[hour] += fraud
            batch.step(np.full(64, HOLD if hold else RELEASE))
        if hour == 0:
            assert np.allclose(batch._state.found, held)
        if hour < delay:
            assert not batch._state.reported.any()
        if hour == delay:
            assert np.allclose(batch._state.reported, released[0])
    assert np.allclose(batch._state.reported, MEMORY * released[0] + released[1])
    assert held.sum() > 0
    assert released[0].sum() > 0


def test_an_hour_has_no_more_reviews_than_its_capacity() -> None:
    batch = begun(32, capacity=2)
    for _ in range(2):
        costs = [batch.step(np.full(32, HOLD))[1] != 0 for _ in range(ORDERS_PER_HOUR)]
        assert np.all(costs[0] & costs[1])
        frauds_let_through = np.sum(costs[2:])
        assert frauds_let_through < 0.25 * 32 * (ORDERS_PER_HOUR - 2)


def test_the_thresholds_beside_the_references_cost_more_and_so_does_one_on_the_bare_score() -> None:
    scenario = make_scenario("fraud-screening")
    near = np.array([THRESHOLD - 1.5, THRESHOLD, THRESHOLD + 2.0], np.float32)
    amounts = candidate_returns(scenario, hold_above, near, 512)
    assert amounts.argmax() == 1

    def bare(state: Any, threshold: Any) -> Any:
        return (state.logit >= threshold).astype(np.int64)

    logits = np.log(np.array([0.01, 0.015, 0.02, 0.03], np.float32))
    assert candidate_returns(scenario, bare, logits, 256).max() < amounts[1] - 100


def test_releasing_everything_costs_more_than_the_reference() -> None:
    def release(state: Any, noise: Any) -> Any:
        return np.zeros(len(state.time), np.int64)

    released = play(make_scenario("fraud-screening"), release, 0, 512)
    assert released.mean() < RETURNS.reference - 2000


def test_without_campaigns_there_are_none_and_other_shops_have_scores_of_their_own() -> None:
    scenario = make_scenario("fraud-screening", campaign_chance=0)
    batch = BatchedVectorEnv(scenario, 64)
    batch.reset(seed=0)
    for _ in range(100):
        batch.step(np.zeros(64, np.int64))
        assert (batch._state.campaign == len(SEGMENTS)).all()
    assert scenario.returns is not None
    assert RETURNS.reference < scenario.returns.random < scenario.returns.reference < 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"capacity": 0}, "capacity is a whole number from 1 to 20, not 0"),
        ({"capacity": 2.5}, r"capacity is a whole number from 1 to 20, not 2\.5"),
        ({"label_delay": 25}, "label_delay is a whole number from 1 to 24, not 25"),
        ({"campaign_chance": 1.5}, r"campaign_chance is a probability, 0 to 1, not 1\.5"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_scenario("fraud-screening", **parameters)
