"""Orders for the fraud-screening scenario: its state, and how orders and campaigns come about."""

import math
from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array

HOURS = 24
ORDERS_PER_HOUR = 20
SEGMENTS = ("electronics", "gift cards", "fashion")
NO_CAMPAIGN = len(SEGMENTS)
NOISE = 5
"""Uniform numbers that an order and an hour of campaigns take."""

BASE_RATE = 0.02
"""Share of frauds among orders, on average over the day and without a campaign."""
NIGHT_SWING = 0.6
"""It is this much higher at NIGHT_HOUR, and lower twelve hours later."""
NIGHT_HOUR = 3.0
CAMPAIGN_RATE = 0.35
"""Share of orders in the attacked segment that are frauds of the campaign."""
CAMPAIGN_END = 0.1
"""Chance that a campaign is over after an hour."""

SEPARATION = 2.2
"""Standard deviations between the evidence that usual frauds and honest orders leave (d')."""
CAMPAIGN_EVIDENCE = 0.25
"""Where campaign frauds lie between honest orders (0) and usual frauds (1): the score was made
before anyone saw their like."""
AMOUNT_MEDIAN, AMOUNT_SPREAD = 85.0, 0.7
"""Euros, and the standard deviation of their logarithm."""
FRAUD_AMOUNT = 0.5
"""What is added to the logarithm of a fraud's amount."""

_PRIOR = math.log(BASE_RATE / (1.0 - BASE_RATE))


class State(NamedTuple):
    """S is the number of segments, D the hours until frauds among released orders are known."""

    time: Array  # orders before this one, int64, (n,)
    logit: Array  # logarithmic odds of fraud by the score, (n,)
    amount: Array  # euros, (n,)
    segment: Array  # int64, (n,)
    fraud: Array  # whether it is one, hidden, bool, (n,)
    campaign: Array  # segment under attack, or S for none, hidden, int64, (n,)
    capacity: Array  # reviews left in this hour, (n,)
    caught: Array  # frauds held in this hour, (n, S)
    missed: Array  # frauds released in this hour, hidden, (n, S)
    pending: Array  # frauds released in each of the D hours before, hidden, (n, D, S)
    found: Array  # frauds that reviews found, fading with the hours, (n, S)
    reported: Array  # frauds that customers reported, fading with the hours, (n, S)
    lost: Array  # euros lost to released frauds so far, (n,)
    saved: Array  # euros of frauds held so far, (n,)


def campaign_begins(number: Array, chance: float) -> Array:
    """The segment of a campaign that begins with this chance, or NO_CAMPAIGN, by a uniform
    number; int64, (n,)."""
    xp = array_namespace(number)
    if chance == 0.0:
        return xp.full_like(number, NO_CAMPAIGN, dtype=xp.int64)
    # Rounding could name a segment that there is not.
    segment = xp.astype(number * (len(SEGMENTS) / chance), xp.int64)
    return xp.where(segment < NO_CAMPAIGN, segment, xp.full_like(segment, NO_CAMPAIGN))


def next_campaign(campaign: Array, number: Array, chance: float) -> Array:
    """An hour later: a campaign may be over, or where there was none one may begin."""
    xp = array_namespace(number)
    none = xp.full_like(campaign, NO_CAMPAIGN)
    going_on = xp.where(number < CAMPAIGN_END, none, campaign)
    return xp.where(campaign == NO_CAMPAIGN, campaign_begins(number, chance), going_on)


def next_order(time: Array, campaign: Array, noise: Array) -> tuple[Array, Array, Array, Array]:
    """Logarithmic odds of fraud by the score, amount in euros, segment, and whether it is a fraud,
    each (n,), of an order that `time` orders came before.

    The score is the posterior probability that is right on average over a day without campaigns:
    evidence is normal with the same spread for honest orders and frauds, and so is the logarithm
    of the amount, so both add to the logarithmic odds in proportion.
    """
    xp = array_namespace(noise)
    hour = xp.astype(time, xp.float32) * (1.0 / ORDERS_PER_HOUR)
    usual = BASE_RATE * (1.0 + NIGHT_SWING * xp.cos((hour - NIGHT_HOUR) * (2.0 * math.pi / HOURS)))
    segment = xp.astype(noise[:, 3] * len(SEGMENTS), xp.int64)
    added = CAMPAIGN_RATE * xp.astype(segment == campaign, xp.float32)
    known_kind = noise[:, 0] < usual
    fraud = noise[:, 0] < usual + added
    evidence = CAMPAIGN_EVIDENCE * xp.astype(fraud, xp.float32)
    evidence = xp.where(known_kind, xp.ones_like(usual), evidence)
    shock, size = normal_pair(noise[:, 1], noise[:, 2])
    larger = FRAUD_AMOUNT * xp.astype(fraud, xp.float32) + AMOUNT_SPREAD * size
    by_evidence = SEPARATION * (shock + SEPARATION * (evidence - 0.5))
    by_amount = (larger - 0.5 * FRAUD_AMOUNT) * (FRAUD_AMOUNT / AMOUNT_SPREAD**2)
    return _PRIOR + by_evidence + by_amount, AMOUNT_MEDIAN * xp.exp(larger), segment, fraud
