"""Fraud screening: which of an online shop's orders to hold for review, with too few reviewers.

How orders, reviews and late labels follow each other is after Dal Pozzolo, Boracchi, Caelen, Alippi
and Bontempi, "Credit Card Fraud Detection: A Realistic Modeling and a Novel Learning Strategy"
(2018); that costs depend on the amount is after Elkan, "The Foundations of Cost-Sensitive Learning"
(2001).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.fraud_orders import (
    AMOUNT_MEDIAN,
    CAMPAIGN_END,
    HOURS,
    NOISE,
    ORDERS_PER_HOUR,
    SEGMENTS,
    State,
    campaign_begins,
    next_campaign,
    next_order,
)
from lepton.environments.scenarios.fraud_picture import render
from lepton.environments.scores import measure
from lepton.environments.search import candidate_returns

MAX_STEPS = HOURS * ORDERS_PER_HOUR
REVIEW_COST = 4.0
"""Euros for an order that is held."""
DELAY_COST = 0.05
"""Share of the amount that holding an honest order costs, since some customers cancel."""
CHARGEBACK_FEE = 20.0
"""Euros for a fraud that was released, beside its amount."""
MEMORY = 0.7
"""How much less a fraud counts after an hour in the sums of what is known."""

THRESHOLDS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 26.0, 34.0)
"""Euros that the search for the reference's threshold tries."""
THRESHOLD = 3.5
RETURNS = Returns(random=-6343.0, reference=-3788.0)
"""What the search and 16,384 days give for the default shop."""


@dataclass(frozen=True)
class Screening:
    """The scenario's functions for one shop."""

    capacity: int
    label_delay: int
    campaign_chance: float

    def reset(self, n: int, noise: Array) -> State:
        """Midnight, with no frauds known; a campaign may be under way."""
        xp = array_namespace(noise)
        nothing = xp.zeros_like(noise[:, 0])
        none = xp.stack([nothing] * len(SEGMENTS), axis=1)
        share = self.campaign_chance / (self.campaign_chance + CAMPAIGN_END)
        time, campaign = xp.astype(nothing, xp.int64), campaign_begins(noise[:, 4], share)
        logit, amount, segment, fraud = next_order(time, campaign, noise)
        return State(
            time=time,
            logit=logit,
            amount=amount,
            segment=segment,
            fraud=fraud,
            campaign=campaign,
            capacity=xp.full_like(nothing, float(self.capacity)),
            caught=none,
            missed=none,
            pending=xp.stack([none] * self.label_delay, axis=1),
            found=none,
            reported=none,
            lost=nothing,
            saved=nothing,
        )

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Hold (1) or release (0) the order, and receive the next one."""
        xp = array_namespace(noise)
        held = (action == 1) & (state.capacity > 0.0)
        nothing = xp.zeros_like(state.amount)
        loss = xp.where(state.fraud & ~held, state.amount + CHARGEBACK_FEE, nothing)
        review = REVIEW_COST + xp.where(state.fraud, nothing, DELAY_COST * state.amount)
        cost = xp.where(held, review, loss)

        in_review = xp.astype(held, xp.float32)
        frauds = _one_hot(state.segment) * xp.astype(state.fraud, xp.float32)[:, None]
        caught = state.caught + frauds * in_review[:, None]
        missed = state.missed + frauds * (1.0 - in_review)[:, None]
        capacity = state.capacity - in_review

        time = state.time + 1
        hour_ends = time % ORDERS_PER_HOUR == 0
        column = hour_ends[:, None]
        later = xp.concat([missed[:, None, :], state.pending[:, :-1, :]], axis=1)
        told = MEMORY * state.reported + state.pending[:, -1, :]
        campaign = next_campaign(state.campaign, noise[:, 4], self.campaign_chance)
        campaign = xp.where(hour_ends, campaign, state.campaign)
        logit, amount, segment, fraud = next_order(time, campaign, noise)
        after = State(
            time=time,
            logit=logit,
            amount=amount,
            segment=segment,
            fraud=fraud,
            campaign=campaign,
            capacity=xp.where(hour_ends, xp.full_like(nothing, float(self.capacity)), capacity),
            caught=xp.where(column, xp.zeros_like(caught), caught),
            missed=xp.where(column, xp.zeros_like(missed), missed),
            pending=xp.where(column[:, :, None], later, state.pending),
            found=xp.where(column, MEMORY * state.found + caught, state.found),
            reported=xp.where(column, told, state.reported),
            lost=state.lost + loss,
            saved=state.saved + xp.where(state.fraud & held, state.amount, nothing),
        )
        return after, -cost, time >= MAX_STEPS

    def observe(self, state: State) -> Array:
        """The order, the hour, and the frauds that are known, (n, 6 + 3 S)."""
        xp = array_namespace(state.amount)
        left = ORDERS_PER_HOUR - state.time % ORDERS_PER_HOUR
        angle = xp.astype(state.time, xp.float32) * (2.0 * math.pi / MAX_STEPS)
        order_and_hour = (
            state.logit / 4.0,
            xp.log(state.amount / AMOUNT_MEDIAN),
            state.capacity / self.capacity,
            xp.astype(left, xp.float32) / ORDERS_PER_HOUR,
            xp.cos(angle),
            xp.sin(angle),
        )
        parts = [
            xp.stack(order_and_hour, axis=1),
            _one_hot(state.segment),
            state.found,
            state.reported,
        ]
        return xp.concat(parts, axis=1)


DEFAULT = Screening(capacity=4, label_delay=2, campaign_chance=0.08)


def _one_hot(segment: Array) -> Array:
    xp = array_namespace(segment)
    columns = [xp.astype(segment == i, xp.float32) for i in range(len(SEGMENTS))]
    return xp.stack(columns, axis=1)


def hold_above(state: State, threshold: Array | float) -> Array:
    """Hold the orders that are expected to lose at least this many euros if released, by their
    score and amount."""
    xp = array_namespace(state.amount)
    expected = (state.amount + CHARGEBACK_FEE) / (1.0 + xp.exp(-state.logit))
    return xp.astype(expected >= threshold, xp.int64)


def metrics(state: State) -> dict[str, Array]:
    """Euros lost to frauds and saved from them since midnight."""
    return {"lost": state.lost, "saved": state.saved}


def best_threshold(scenario: Scenario[State]) -> float:
    """Of THRESHOLDS, the one that costs least over the same days."""
    candidates = np.array(THRESHOLDS, np.float32)
    return float(candidates[candidate_returns(scenario, hold_above, candidates).argmax()])


def scenario(
    capacity: int = DEFAULT.capacity,
    label_delay: int = DEFAULT.label_delay,
    campaign_chance: float = DEFAULT.campaign_chance,
) -> Scenario[State]:
    """capacity: reviews in an hour, of the 20 orders that it brings.
    label_delay: hours after which frauds among released orders become known.
    campaign_chance: that a campaign begins in an hour without one; 0 for none at all.
    """
    for name, value, most in (
        ("capacity", capacity, ORDERS_PER_HOUR),
        ("label_delay", label_delay, HOURS),
    ):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} is a whole number from 1 to {most}, not {value}")
    if not 0 <= campaign_chance <= 1:
        raise ValueError(f"campaign_chance is a probability, 0 to 1, not {campaign_chance}")
    return _scenario(capacity, label_delay, float(campaign_chance))


@lru_cache(maxsize=16)
def _scenario(capacity: int, label_delay: int, campaign_chance: float) -> Scenario[State]:
    functions = Screening(capacity, label_delay, campaign_chance)
    most = ORDERS_PER_HOUR / (1.0 - MEMORY)
    segments = len(SEGMENTS)
    low = [-8.0, -8.0, 0.0, 0.0, -1.0, -1.0] + [0.0] * (3 * segments)
    high = [8.0, 8.0, 1.0, 1.0, 1.0, 1.0] + [1.0] * segments + [most] * (2 * segments)
    made: Scenario[State] = Scenario(
        name="fraud-screening",
        observation_space=spaces.Box(np.array(low, np.float32), np.array(high, np.float32)),
        action_space=spaces.Discrete(2),
        max_steps=MAX_STEPS,
        reset=functions.reset,
        step=functions.step,
        observe=functions.observe,
        reset_noise=NOISE,
        step_noise=NOISE,
        render=partial(render, capacity=capacity),
        metrics=metrics,
    )
    if functions == DEFAULT:
        return replace(made, reference=partial(hold_above, threshold=THRESHOLD), returns=RETURNS)
    threshold = best_threshold(made)
    made = replace(made, reference=partial(hold_above, threshold=threshold))
    return replace(made, returns=measure(made, 1024))
