"""Replay: steps that were made are kept, and learned from again and again.

Steps are drawn evenly (Lin, "Self-Improving Reactive Agents", 1992) or in proportion to how much
there was to learn from them: Schaul et al., "Prioritized Experience Replay" (arXiv:1511.05952),
the proportional variant with a sum tree and stratified draws.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lepton.algorithms.rollout import Rollout
from lepton.algorithms.sum_tree import SumTree

SMALLEST_PRIORITY = 1e-6
"""Added to errors, so that what has been learned well is still met now and then."""


@dataclass(frozen=True)
class Transitions:
    """n drawn steps, each with the n-step return that follows it."""

    observations: Tensor
    """(n, size)."""
    actions: Tensor
    """(n, ...), as the learner chose them."""
    returns: Tensor
    """(n,): discounted sum of the rewards of this step and those that follow it."""
    discounts: Tensor
    """(n,): what a value at `next_observations` counts for in this step's; 0 after termination."""
    next_observations: Tensor
    """(n, size): where the last step of the sum led to, within the same episode."""
    weights: Tensor
    """(n,): importance of each, which makes up for how often it is drawn; at most 1."""
    indices: Tensor
    """(n,): where they lie, for `Replay.prioritise`."""


class Replay:
    """The newest steps of N environments, time-major: a ring of slots with a step of each.

    A slot holds the observations before its steps; where these led to is in the next slot, so
    every observation is there once. What truncated episodes ended with, where the environment
    put the next episode's first observation in its place, lies in a ring of its own.

    `capacity` is in steps of all environments together; `n_step` is how many rewards a return
    sums up at most. `alpha` is how much priorities decide (None: not at all, draws are even).
    Tensors are where the first rollout's are.
    """

    # The first seven are of shape (slots, N, ...).
    _observations: Tensor
    _actions: Tensor
    _rewards: Tensor
    _terminated: Tensor
    _done: Tensor
    _valid: Tensor
    _final: Tensor
    """Number of the observation that the step led to among all that were ever put into `_finals`,
    where it lies at its number modulo the length; -1 if it is in the next slot."""
    _finals: Tensor
    _finals_begin: int
    _finals_end: int
    _head: int
    """The slot that the next steps go to."""
    _filled: int
    """Slots that hold steps, up to the one before the head."""
    _has_invalid: bool
    _choices: Tensor | None
    """Indices of the steps to draw from; None: all that are held."""
    _tree: SumTree | None
    _largest: Tensor
    """Largest priority so far, shape ()."""

    def __init__(
        self, capacity: int, *, gamma: float, n_step: int = 1, alpha: float | None = None
    ) -> None:
        self._capacity = capacity
        self._gamma = gamma
        self._n_step = n_step
        self._alpha = alpha
        self._slots = 0
        """One more than can hold steps: the slot after the newest has only observations."""

    def __len__(self) -> int:
        """Steps held, those that only reset an environment included."""
        return self._filled * self._environments if self._slots else 0

    # Writing -------------------------------------------------------------------------------

    def add(self, rollout: Rollout) -> None:
        """Append a rollout; the oldest steps make room for it."""
        steps, environments = rollout.rewards.shape
        if not self._slots:
            size = max(-(-self._capacity // environments), steps) + 1
            self._allocate(size, environments, rollout.observations, rollout.actions)
        self._close_what_was_cut_off(rollout.observations[0])
        device = self._observations.device
        slots = (self._head + torch.arange(steps + 1, device=device)) % self._slots
        written, lost = slots[:-1], slots[1:]
        self._finals_begin += int((self._final[lost] >= 0).sum())
        self._final[lost] = -1
        self._observations[slots] = rollout.observations
        self._actions[written] = rollout.actions
        self._rewards[written] = rollout.rewards
        self._terminated[written] = rollout.terminated
        self._done[written] = rollout.done
        self._valid[slots[-1]] = False
        self._valid[written] = rollout.valid
        t, row = rollout.final_index
        self._keep_finals(written[t], row, rollout.final_observations)
        self._head = (self._head + steps) % self._slots
        self._filled = min(self._filled + steps, self._slots - 1)
        if self._tree is not None:
            places = slots[:, None] * environments + torch.arange(environments, device=device)
            weights = torch.where(self._valid[slots], self._largest, 0.0)
            self._tree.put(places.flatten(), weights.flatten())
        else:
            self._has_invalid = self._has_invalid or not bool(rollout.valid.all())
            self._list_choices()

    def _allocate(
        self, slots: int, environments: int, observations: Tensor, actions: Tensor
    ) -> None:
        """Make room; memory of a CPU is taken when it is written to."""
        self._slots, self._environments = slots, environments
        device = observations.device
        shape = (slots, environments)
        self._observations = observations.new_empty(*shape, observations.shape[-1])
        self._actions = actions.new_empty(*shape, *actions.shape[2:])
        self._rewards = torch.zeros(shape, device=device)
        self._terminated = torch.zeros(shape, dtype=torch.bool, device=device)
        self._done = torch.zeros(shape, dtype=torch.bool, device=device)
        self._valid = torch.zeros(shape, dtype=torch.bool, device=device)
        self._head = self._filled = 0
        self._final = torch.full(shape, -1, dtype=torch.int64, device=device)
        self._finals = observations.new_empty(0, observations.shape[-1])
        self._finals_begin = self._finals_end = 0
        self._has_invalid = False
        self._choices = None
        self._discounts = self._gamma ** torch.arange(self._n_step + 1, device=device).float()
        self._tree = None if self._alpha is None else SumTree(slots * environments, device)
        self._largest = torch.ones((), dtype=torch.float64, device=device)

    def _keep_finals(self, slots: Tensor, rows: Tensor, observations: Tensor) -> None:
        """Remember what the steps at (slots, rows), in order of time, really led to."""
        count = len(observations)
        if not count:
            return
        device, begin, end = observations.device, self._finals_begin, self._finals_end
        if end - begin + count > len(self._finals):
            length = max(2 * len(self._finals), end - begin + count)
            larger = self._finals.new_empty(length, self._finals.shape[1])
            numbers = torch.arange(begin, end, device=device)
            larger[numbers % length] = self._finals[numbers % max(1, len(self._finals))]
            self._finals = larger
        numbers = torch.arange(end, end + count, device=device)
        self._finals[numbers % len(self._finals)] = observations
        self._final[slots, rows] = numbers
        self._finals_end += count

    def _close_what_was_cut_off(self, first: Tensor) -> None:
        """Truncate episodes that do not go on in the rollout that begins with `first`.

        That is so after a restart with environments whose state can't be saved.
        """
        if not self._filled:
            return
        shown, last = self._observations[self._head], (self._head - 1) % self._slots
        cut = (shown != first).any(1) & ~self._terminated[last] & (self._final[last] < 0)
        rows = cut.nonzero()[:, 0]
        self._done[last, rows] = True
        self._keep_finals(torch.full_like(rows, last), rows, shown[rows])

    def _list_choices(self) -> None:
        """What to draw from, unless that is everything."""
        if self._has_invalid:
            self._choices = self._valid.flatten()[: self._used * self._environments].nonzero()[:, 0]

    @property
    def _used(self) -> int:
        """Slots that hold anything; they are the first ones."""
        return min(self._filled + 1, self._slots)

    # Reading -------------------------------------------------------------------------------

    def sample(self, count: int, generator: torch.Generator, beta: float = 1.0) -> Transitions:
        """Draw steps, with replacement, but none that only reset an environment.

        `beta` is how far weights make up for uneven draws, from not at all (0) to fully (1).
        """
        if self._tree is not None:
            indices, weights = self._draw_by_priority(self._tree, count, generator, beta)
            return self._gather(indices, weights)
        device = self._observations.device
        choices, environments = self._choices, self._environments
        many = len(self) if choices is None else len(choices)
        drawn = torch.randint(many, (count,), generator=generator, device=device)
        if choices is not None:
            indices = choices[drawn]
        else:  # all but those in the slot that has only observations
            indices = drawn + (drawn >= self._head * environments) * environments
        return self._gather(indices, torch.ones(count, device=device))

    def _draw_by_priority(
        self, tree: SumTree, count: int, generator: torch.Generator, beta: float
    ) -> tuple[Tensor, Tensor]:
        """One from each of `count` equal stretches of all priorities laid end to end."""
        device, total = tree.leaves.device, tree.total()
        within = torch.rand(count, generator=generator, dtype=torch.float64, device=device)
        strata = torch.arange(count, device=device) + within
        points = torch.minimum(strata / count * total, total * (1 - 1e-12))
        indices = tree.find(points)
        # (1/N · 1/P)^β over its largest of the minibatch, in which N and the total cancel out.
        priorities = tree.leaves[indices]
        return indices, (priorities.min() / priorities).pow(beta).float()

    def _gather(self, indices: Tensor, weights: Tensor) -> Transitions:
        environments, places = self._environments, self._slots * self._environments
        ahead = torch.arange(self._n_step, device=indices.device)
        path = (indices[:, None] + ahead * environments) % places
        # A sum ends with its episode, or with the newest step.
        known = (self._head - indices // environments) % self._slots
        summed = (ahead < known[:, None]).float()
        done = self._done.view(-1)
        if self._n_step > 1:
            summed[:, 1:] *= (~done[path[:, :-1]]).cumprod(1)
        returns = (self._rewards.view(-1)[path] * summed) @ self._discounts[:-1]
        lengths = summed.sum(1).long()
        last = path.gather(1, lengths[:, None] - 1)[:, 0]
        discounts = self._discounts[lengths] * ~self._terminated.view(-1)[last]
        observations = self._observations.view(places, -1)
        following = observations[(last + environments) % places]
        if self._finals_end > self._finals_begin:
            number = self._final.view(-1)[last]
            final = self._finals[number.clamp_min(0) % len(self._finals)]
            following = torch.where((number >= 0)[:, None], final, following)
        return Transitions(
            observations=observations[indices],
            actions=self._actions.flatten(0, 1)[indices],
            returns=returns,
            discounts=discounts,
            next_observations=following,
            weights=weights,
            indices=indices,
        )

    def prioritise(self, indices: Tensor, errors: Tensor) -> None:
        """Set how much there was to learn from these steps (n,); new ones count as much as the
        largest so far. Does nothing without priorities."""
        if self._alpha is None:
            return
        assert self._tree is not None, "steps are added before they are drawn"
        priorities = (errors.double().abs() + SMALLEST_PRIORITY).pow(self._alpha)
        self._largest = torch.maximum(self._largest, priorities.max())
        self._tree.put(indices, priorities)

    # State ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Everything, without room that is not used yet; empty while nothing is held."""
        if not self._slots:
            return {}
        used, device = self._used, self._observations.device
        numbers = torch.arange(self._finals_begin, self._finals_end, device=device)
        state = {name: self._part(getattr(self, f"_{name}")) for name in _PARTS}
        state["finals"] = self._finals[numbers % max(1, len(self._finals))]
        state["places"] = torch.tensor(
            [self._slots, self._head, self._filled, self._finals_begin, self._finals_end]
        )
        if self._tree is not None:
            state["priorities"] = self._tree.leaves[: used * self._environments].clone()
            state["largest"] = self._largest
        return state

    def _part(self, tensor: Tensor) -> Tensor:
        # A file of a view would hold all that the view is of.
        return tensor if self._used == self._slots else tensor[: self._used].clone()

    def restore(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Continue from `state`."""
        if not state:
            return
        slots, head, filled, begin, end = (int(number) for number in state["places"])
        observations, actions = state["observations"].to(device), state["actions"].to(device)
        self._allocate(slots, observations.shape[1], observations, actions)
        self._head, self._filled = head, filled
        self._finals_begin, self._finals_end = begin, end
        for name in _PARTS:
            getattr(self, f"_{name}")[: self._used] = state[name].to(device)
        self._finals = self._finals.new_empty(max(1, end - begin), observations.shape[-1])
        numbers = torch.arange(begin, end, device=device)
        self._finals[numbers % len(self._finals)] = state["finals"].to(device)
        self._has_invalid = len(self) > int(self._valid.sum())
        self._list_choices()
        if self._tree is not None:
            leaves = state["priorities"].to(device)
            self._tree.put(torch.arange(len(leaves), device=device), leaves)
            self._largest = state["largest"].to(device)


_PARTS = ("observations", "actions", "rewards", "terminated", "done", "valid", "final")
"""Tensors with an axis of slots, by their names without the underscore."""
