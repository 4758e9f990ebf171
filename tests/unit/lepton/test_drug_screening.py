"""Drug screening: beliefs are what assays tell, money is kept account of, and proposals hold what
the reference wants."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenarios import drug_campaign as campaign
from lepton.environments.scenarios import drug_library as library
from lepton.environments.scenarios import drug_screening as screening
from lepton.environments.scenarios import make_scenario
from lepton.environments.scores import play
from lepton.environments.search import candidate_returns

ERROR = screening.DEFAULT.noise


def begun(count: int, seed: int = 0) -> campaign.State:
    seeds = np.arange(count, dtype=np.int64) + seed
    noise = uniform(seeds, np.zeros_like(seeds), campaign.RESET_NOISE)
    return screening.reset(count, noise, screening.DEFAULT)


def order(state: campaign.State, action: Any, draw: int = 1) -> tuple[campaign.State, Any, Any]:
    count = len(state.left)
    noise = uniform(np.arange(count), np.full(count, draw), campaign.STEP_NOISE)
    chosen = np.broadcast_to(action, count)
    return screening.step(state, chosen, noise, screening.DEFAULT, screening.INDEX)


def in_progress(count: int, orders: int) -> campaign.State:
    """Campaigns with much money, after random orders."""
    state = begun(count)
    state = campaign.propose(state._replace(left=state.left + 60.0), screening.INDEX)
    for draw in range(orders):
        action = np.random.default_rng(draw).integers(0, campaign.PROPOSALS, count)
        state, _, _ = order(state, action, draw + 1)
    return state


def test_beliefs_are_those_of_conditioning_the_prior_on_all_results_at_once() -> None:
    state = in_progress(8, 6)
    mean, deviation = library.expectation(library.Belief(state.mean, state.covariance))
    start = library.prior(np.zeros((1, library.PARTS), np.float32)).covariance[0].astype(float)
    has = np.zeros((library.COMPOUNDS, library.PARTS))
    for compound in range(library.COMPOUNDS):
        has[compound, compound // 6] = has[compound, 6 + compound % 6] = 1.0
    of_compounds = has @ start @ has.T
    for row in range(8):
        done = state.measured[row] != 0.0
        assert done.sum() == 6
        variance = library.OWN_SPREAD**2 + ERROR**2
        between = of_compounds[:, done]
        inverse = np.linalg.inv(between[done] + variance * np.eye(6))
        surprise = state.measured[row, done] - library.AVERAGE
        expected = library.AVERAGE + between @ inverse @ surprise
        left = np.diag(of_compounds - between @ inverse @ between.T) + library.OWN_SPREAD**2
        assert np.allclose(mean[:, row], expected, atol=1e-3)
        assert np.allclose(deviation[:, row], np.sqrt(left), atol=1e-3)


def test_compounds_are_as_far_from_what_is_expected_as_the_deviation_says() -> None:
    state = in_progress(4096, 5)
    mean, deviation = library.expectation(library.Belief(state.mean, state.covariance))
    errors = ((state.activity - mean.T) / deviation.T)[state.measured == 0.0]
    assert abs(errors.mean()) < 0.03
    assert abs(errors.std() - 1.0) < 0.02


def test_money_goes_to_cores_and_substituents_once_and_to_every_assay() -> None:
    state = begun(512)
    money = state.left
    for draw in range(12):
        action = np.random.default_rng(draw).integers(0, campaign.PROPOSALS, 512)
        state, _, _ = order(state, action, draw + 1)
    assays = (state.measured != 0.0).sum(axis=1)
    cores, substituents = campaign.at_hand(state)
    for row in range(512):
        made = np.flatnonzero(state.measured[row])
        assert cores[row] == len(set(made // 6))
        assert substituents[row] == len(set(made % 6))
    spent = cores * state.core_cost + substituents + assays
    assert np.allclose(money - state.left, spent, atol=1e-4)
    assert (state.left >= 0.0).all()


def test_the_first_proposal_costs_a_core_a_substituent_and_an_assay_and_later_ones_less() -> None:
    state = begun(1)
    price = float(state.core_cost[0])
    assert np.allclose(state.cost, price + 2.0)
    first = int(state.proposed[0, 0])
    state, _, _ = order(state, 0)
    cost = dict(zip(state.proposed[0].tolist(), state.cost[0].tolist(), strict=True))
    for compound, dollars in cost.items():
        core = 0.0 if compound // 6 == first // 6 else price
        substituent = 0.0 if compound % 6 == first % 6 else 1.0
        assert dollars == pytest.approx(core + substituent + 1.0)


def test_proposals_are_new_and_the_reference_orders_what_ranks_first_in_the_whole_library() -> None:
    state, index = begun(256), screening.INDEX
    for draw in range(14):
        chosen = screening.reference(state, index)
        running = (state.cost <= state.left[:, None]).any(axis=1)
        assert (campaign.at(state.measured, state.proposed) == 0.0).all()
        mean, deviation = library.expectation(library.Belief(state.mean, state.covariance))
        cost = campaign.costs(state).T
        worth = mean.T + index.beta * deviation.T - index.price * cost
        worth[(state.measured != 0.0) | (cost > state.left[:, None])] = -np.inf
        compound = campaign.at(state.proposed, chosen[:, None])
        ordered = campaign.at(worth, compound)[:, 0]
        assert np.allclose(ordered[running], worth.max(axis=1)[running], atol=1e-4)
        state, _, _ = order(state, chosen, draw + 1)


def test_proposals_are_of_the_kind_that_they_stand_for_where_there_is_such_a_compound() -> None:
    state = in_progress(256, 5)
    there = state.prices == 0.0
    is_open = state.measured == 0.0
    core = np.repeat(there[:, :6], 6, axis=1)
    substituent = np.tile(there[:, 6:], (1, 6))
    kinds = (core & substituent, core & ~substituent, ~core & substituent, ~core & ~substituent)
    for number, kind in enumerate(kinds):
        some = (kind & is_open).any(axis=1)
        assert some.any()
        for proposal in (number, 4 + number):
            compound = state.proposed[:, proposal : proposal + 1]
            assert campaign.at(kind & is_open, compound)[some].all()


def test_a_campaign_begins_with_what_the_tool_proposes_when_nothing_is_known() -> None:
    state = begun(16)
    for ours, proposed in zip(state, campaign.propose(state, screening.INDEX), strict=True):
        assert np.allclose(ours, proposed, atol=1e-5)


def test_an_order_that_there_is_no_money_for_ends_the_campaign_and_yields_nothing() -> None:
    state = begun(4)
    poor = state._replace(left=state.left * 0.0 + 1.5)
    after, reward, ended = order(poor, 0)
    assert ended.all()
    assert not reward.any()
    for name in ("mean", "covariance", "measured", "prices", "leads", "leads_measured", "left"):
        assert np.array_equal(getattr(after, name), getattr(poor, name)), name


def test_rewards_add_up_to_what_was_found_of_the_five_most_active_compounds() -> None:
    state, total, running = begun(64), np.zeros(64), np.ones(64, bool)
    for draw in range(30):
        before = state
        state, reward, ended = order(state, screening.reference(state, screening.INDEX), draw + 1)
        total += np.where(running, reward, 0.0)
        for row in np.flatnonzero(running & ended):
            assert before.left[row] >= 0.0
            found = state.activity[row, state.measured[row] != 0.0]
            leads = np.sort(np.concatenate([found, np.full(5, 4.0)]))[-5:]
            best = np.sort(state.activity[row])[-5:]
            share = 100.0 * (leads - 4.0).sum() / (best - 4.0).sum()
            assert total[row] == pytest.approx(share, abs=1e-3)
        running &= ~ended
    assert not running.any()


def test_indices_far_from_the_references_find_less() -> None:
    scenario = make_scenario("drug-screening")
    freely = partial(screening._step_freely, setting=screening.DEFAULT)
    beta, price = screening.INDEX
    others = [(beta, 0.0), (beta, price / 2), (beta, 2 * price), (2 * beta, price), (0.0, 0.0)]
    candidates = np.array([(beta, price), *others], np.float32)
    free = replace(scenario, step=freely)
    found = candidate_returns(free, screening._by_index, candidates, episodes=1024)
    assert found.argmax() == 0
    assert found[1] < found[0] - 5.0  # the plain upper confidence bound, blind to costs


def test_campaigns_differ_in_the_price_of_a_core_unless_it_is_given() -> None:
    assert 1.5 <= begun(512).core_cost.min() < 1.6
    assert 8.5 < begun(512).core_cost.max() <= 9.0
    scenario = make_scenario("drug-screening", core_cost=4, noise=0.3, routes=1.5)
    zeros = np.zeros((2, scenario.reset_noise), np.float32)
    assert scenario.reset(2, zeros).core_cost.tolist() == [4.0, 4.0]
    assert scenario.reset(2, zeros).left.tolist() == [16.0, 16.0]
    assert scenario.returns is not None
    assert 0.0 < scenario.returns.random < scenario.returns.reference < 100.0


def test_to_take_always_the_same_kind_is_far_worse_than_the_reference() -> None:
    scenario = make_scenario("drug-screening")
    for kind in range(campaign.PROPOSALS):
        found = play(scenario, lambda state, _, k=kind: np.full(len(state.left), k), 0, 512)
        assert scenario.score(found).mean() < 75.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": 0}, r"noise must be between 0\.05 and 1, not 0"),
        ({"routes": 5}, "routes must be between 1 and 4, not 5"),
        ({"core_cost": 20}, r"core_cost must be between 0\.5 and 15, not 20"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_scenario("drug-screening", **parameters)
