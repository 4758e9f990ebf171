"""Diagnosis of acute chest pain: pay for tests one after another, then name the disease.

The patients come from the Bayesian network in `diagnosis_network`. Naming the wrong disease costs
what it costs to miss the right one plus what needless treatment costs.
"""

import math
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.diagnosis_network import (
    CAUSES,
    DISEASES,
    EXAMINATION,
    FINDINGS,
    MOST_FINDINGS,
    OLDER,
    TESTS,
    Tables,
    tables,
)
from lepton.environments.scenarios.diagnosis_reference import information
from lepton.environments.scores import measure, reference_returns

MOST_ORDERS = len(TESTS)
"""Tests that can be ordered before a disease must be named."""


THRESHOLDS = (3.4e-4, 4.8e-4, 5.7e-4, 6.8e-4, 8.1e-4, 9.6e-4, 1.4e-3)
"""Nats per dollar, between which `search_threshold` chooses."""
THRESHOLD = 6.8e-4
"""What it finds with 65,536 episodes of the default setting."""
RETURNS = Returns(random=-3973.0, reference=-632.5)
"""Of the default setting, measured over 65,536 episodes."""


class Setting(NamedTuple):
    """What the parameters change."""

    orders: int
    stakes: float


class State(NamedTuple):
    """First axis n."""

    older: Array  # 1 for 65 years and more, else 0; int64
    cause: Array  # hidden: number of the joint value of the hidden nodes, int64
    belief: Array  # (n, CAUSES): probability of each, given age and findings
    findings: Array  # (n, findings): 1 there, -1 not there, 0 not known
    ordered: Array  # bit i is set once test i has been ordered, int64
    orders: Array  # tests ordered so far, repeated ones too, int64
    spent: Array  # US dollars, on tests


def _look(know: Tables, test: Array, cause: Array, noise: Array) -> Array:
    """Number of the outcome of a test; test 0 is the examination."""
    xp = array_namespace(noise)
    shown = xp.reshape(know.shown, (-1, MOST_FINDINGS))
    there = noise < xp.take(shown, test * CAUSES + cause, axis=0)
    bits = 1 << xp.arange(MOST_FINDINGS, dtype=xp.int64, device=device(noise))
    return xp.take(know.first, test, axis=0) + xp.sum(xp.where(there, bits, 0), axis=1)


def _learn(know: Tables, belief: Array, outcome: Array) -> Array:
    """Bayes's rule."""
    xp = array_namespace(belief)
    weight = belief * xp.take(know.likelihood, outcome, axis=0)
    return weight / xp.sum(weight, axis=1, keepdims=True)


def reset(n: int, noise: Array) -> State:
    """Patients who have told their history and been examined."""
    xp = array_namespace(noise)
    know = tables(xp, device(noise))
    older = xp.astype(noise[:, 0] < OLDER, xp.int64)
    passed = noise[:, 1:2] >= xp.take(know.cumulative, older, axis=0)[:, :-1]
    cause = xp.sum(xp.astype(passed, xp.int64), axis=1)
    outcome = _look(know, xp.zeros_like(cause), cause, noise[:, 2:])
    belief = _learn(know, xp.take(know.causes, older, axis=0), outcome)
    findings = xp.take(know.signs, outcome, axis=0)
    nothing = xp.zeros_like(cause)
    return State(older, cause, belief, findings, nothing, nothing, noise[:, 0] * 0.0)


def step(state: State, action: Array, noise: Array, setting: Setting) -> tuple[State, Array, Array]:
    """Order test `action`, or name disease `action - len(TESTS)`, which ends the episode.

    A test that is ordered again costs again and shows the same.
    """
    xp = array_namespace(noise)
    know = tables(xp, device(noise))
    names = action >= len(TESTS)
    test = xp.where(names, 0, action)
    outcome = _look(know, test + 1, state.cause, noise)
    new = (((state.ordered >> test) & 1) == 0) & ~names
    belief = xp.where(new[:, None], _learn(know, state.belief, outcome), state.belief)
    signs = xp.take(know.signs, outcome, axis=0)
    findings = xp.where(new[:, None], state.findings + signs, state.findings)
    ordered = xp.where(new, state.ordered | (1 << test), state.ordered)
    orders = state.orders + xp.astype(~names, xp.int64)
    cost = xp.take(know.cost, test, axis=0)
    is_set_up = (state.ordered & xp.take(know.shares, test, axis=0)) != 0
    cost = cost + xp.where(is_set_up, 0.0, xp.take(know.setup, test, axis=0))
    cost = xp.where(names, 0.0, cost)

    undecided = orders > setting.orders
    named = xp.where(names, action - len(TESTS), len(DISEASES))
    harm = xp.sum(disease_belief(state) * xp.take(know.harm, named, axis=0), axis=1)
    reward = xp.where(names | undecided, -setting.stakes * harm, 0.0) - cost
    after = State(state.older, state.cause, belief, findings, ordered, orders, state.spent + cost)
    return after, xp.astype(reward, cost.dtype), names | undecided


def disease_belief(state: State) -> Array:
    """Probability of each disease, given age and findings, shape (n, diseases)."""
    belief = state.belief
    return belief[:, 0::4] + belief[:, 1::4] + belief[:, 2::4] + belief[:, 3::4]


def observe(state: State, setting: Setting) -> Array:
    """Age, orders left, what was found, and the probability of each disease that follows, as it is
    and on a scale of orders of magnitude, shape (n, width)."""
    xp = array_namespace(state.belief)
    left = 1.0 - xp.astype(state.orders, xp.float32) / (setting.orders + 1)
    older = xp.astype(state.older, xp.float32)
    belief = disease_belief(state)
    # 1 for certain, 0 for one in 1,000 or less: small probabilities of costly diseases matter.
    magnitude = 1.0 + xp.log(xp.clip(belief, 1e-3, 1.0)) / math.log(1e3)
    known = [older[:, None], left[:, None], state.findings, belief, magnitude]
    return xp.concat(known, axis=1)


def reference(state: State, setting: Setting, threshold: float) -> Array:
    """Order the test that tells most about the disease per dollar, as long as that is at least
    `threshold` nats per dollar; then name the disease whose expected harm is smallest."""
    xp = array_namespace(state.belief)
    know = tables(xp, device(state.belief))
    is_set_up = (state.ordered[:, None] & know.shares) != 0
    cost = know.cost + xp.where(is_set_up, 0.0, know.setup)
    gain = information(state.belief, state.ordered) / cost
    go_on = (xp.max(gain, axis=1) >= threshold) & (state.orders < setting.orders)
    harm = disease_belief(state) @ know.harm[:-1, :].T
    name = len(TESTS) + xp.argmin(harm, axis=1)
    return xp.where(go_on, xp.argmax(gain, axis=1), name)


def search_threshold(setting: Setting, episodes: int) -> float:
    """The one of THRESHOLDS, made for stakes of 1, with which the reference does best."""
    scaled = [threshold / setting.stakes for threshold in THRESHOLDS]

    def mean_return(threshold: float) -> float:
        made = _scenario(setting, threshold, None)
        return float(reference_returns(made, episodes).mean())

    return max(scaled, key=mean_return)


def metrics(state: State) -> dict[str, Array]:
    """How much was done, and how sure one may be."""
    xp = array_namespace(state.belief)
    return {
        "tests": state.orders,
        "spent": state.spent,
        "certainty": xp.max(disease_belief(state), axis=1),
    }


def render(state: State, setting: Setting) -> Picture:
    """How likely each disease is on the left; each test, its price and what it showed on the
    right."""
    canvas = Canvas(900, 400, right=900.0, top=400.0)
    findings = dict(zip(FINDINGS, state.findings[0].tolist(), strict=True))
    age = "65 years or more" if int(state.older[0]) else "under 65 years"
    told = [f.name for f in EXAMINATION.findings if findings[f.name] > 0]
    canvas.text((20, 378), f"Chest pain, {age}: {', '.join(told) or 'nothing special'}", size=15)
    belief = disease_belief(state)[0].tolist()
    for row, (disease, probability) in enumerate(zip(DISEASES, belief, strict=True)):
        y = 335.0 - 42.0 * row
        canvas.text((20, y), disease)
        canvas.rectangle((165, y - 11), (300, y + 11), "pale")
        colour = "orange" if probability == max(belief) else "blue"
        canvas.rectangle((165, y - 11), (165 + 135 * probability, y + 11), colour)
        canvas.text((345, y), f"{probability:.0%}", anchor="rm")
    for row, test in enumerate(TESTS):
        y = 342.0 - 25.5 * row
        done = (int(state.ordered[0]) >> row) & 1
        canvas.text((540, y), test.name, "dark" if done else "line", 13, "rm")
        if done:
            found = [f.name for f in test.findings if findings[f.name] > 0]
            canvas.circle((553, y), 5, "red" if found else "green")
            canvas.text((564, y), ", ".join(found) or "normal", "red" if found else "green", 12)
    left = max(0, setting.orders - int(state.orders[0]))
    canvas.text((20, 28), f"${float(state.spent[0]):.0f} spent, {left} orders left", size=15)
    return canvas.picture()


def scenario(orders: int = MOST_ORDERS, stakes: float = 1.0) -> Scenario[State]:
    """`orders`: tests that may be ordered, 1 to 12. `stakes`: factor on what a wrong diagnosis
    costs, 0.1 to 10. Raises ValueError for others."""
    if not 1 <= orders <= MOST_ORDERS:
        raise ValueError(f"orders must be between 1 and {MOST_ORDERS}, not {orders}")
    if not 0.1 <= stakes <= 10.0:
        raise ValueError(f"stakes must be between 0.1 and 10, not {stakes}")
    setting = Setting(orders, stakes)
    if setting == Setting(MOST_ORDERS, 1.0):
        return _scenario(setting, THRESHOLD, RETURNS)
    return _measured(setting)


@cache
def _measured(setting: Setting) -> Scenario[State]:
    threshold = search_threshold(setting, episodes=512)
    returns = measure(_scenario(setting, threshold, None), episodes=2048)
    return _scenario(setting, threshold, returns)


def _scenario(setting: Setting, threshold: float, returns: Returns | None) -> Scenario[State]:
    width = 2 + len(FINDINGS) + 2 * len(DISEASES)
    return Scenario(
        name="diagnosis",
        observation_space=spaces.Box(-1.0, 1.0, (width,), np.float32),
        action_space=spaces.Discrete(len(TESTS) + len(DISEASES)),
        max_steps=setting.orders + 1,
        reset=reset,
        step=partial(step, setting=setting),
        observe=partial(observe, setting=setting),
        reset_noise=2 + MOST_FINDINGS,
        step_noise=MOST_FINDINGS,
        reference=partial(reference, setting=setting, threshold=threshold),
        returns=returns,
        render=partial(render, setting=setting),
        metrics=metrics,
    )
