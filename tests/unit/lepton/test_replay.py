"""Replay: returns stay within their episodes, draws follow priorities, and nothing is lost."""

from typing import Any

import pytest
import torch

from lepton.algorithms.replay import Replay, Transitions
from lepton.algorithms.rollout import Rollout
from lepton.algorithms.sum_tree import SumTree

GAMMA = 0.9


class World:
    """Environments whose every observation is a number of its own, and what really happened."""

    def __init__(self, environments: int, mode: str, seed: int = 0) -> None:
        self.mode, self.count = mode, environments
        self.generator = torch.Generator().manual_seed(seed)
        self.happened: dict[float, tuple[float, float, float, bool, bool]] = {}
        """By observation: action, reward, next observation, terminated, truncated."""
        self.numbers = 0.0
        self.shown = [self.new() for _ in range(environments)]
        self.resetting = [False] * environments

    def new(self) -> float:
        self.numbers += 1.0
        return self.numbers

    def random(self) -> float:
        return float(torch.rand((), generator=self.generator))

    def begin_anew(self) -> None:
        """As environments whose state can't be saved do after a restart."""
        self.shown = [self.new() for _ in self.shown]
        self.resetting = [False] * self.count

    def rollout(self, steps: int) -> Rollout:
        shape = (steps, self.count)
        observations = torch.zeros(steps + 1, self.count, 2)
        actions, rewards = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
        terminated, done = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape).bool()
        valid = torch.ones(shape, dtype=torch.bool)
        finals: list[tuple[int, int, float]] = []
        for t in range(steps):
            for row in range(self.count):
                before = self.shown[row]
                observations[t, row] = before
                after, action = self.new(), int(self.random() * 5)
                self.shown[row], actions[t, row] = after, action
                if self.resetting[row]:
                    valid[t, row], self.resetting[row] = False, False
                    continue
                luck, rewards[t, row] = self.random(), self.random()
                ends, cut = luck < 0.15, 0.15 <= luck < 0.3
                terminated[t, row], done[t, row] = ends, ends or cut
                self.happened[before] = (action, float(rewards[t, row]), after, ends, cut)
                if ends or cut:
                    if self.mode == "next step":
                        self.resetting[row] = True
                    else:
                        self.shown[row] = self.new()
                        if cut:
                            finals.append((t, row, after))
        observations[steps] = torch.tensor(self.shown)[:, None]
        index = torch.tensor([[t, row] for t, row, _ in finals], dtype=torch.int64).view(-1, 2)
        final = torch.tensor([after for _, _, after in finals])[:, None].expand(-1, 2)
        return Rollout(
            observations,
            actions,
            rewards,
            terminated,
            done,
            valid,
            (index[:, 0], index[:, 1]),
            final,
        )

    def follow(self, observation: float, n_step: int) -> tuple[float, float, float]:
        """Return, discount and next observation, as far as anything happened."""
        total, factor = 0.0, 1.0
        for _ in range(n_step):
            _, reward, observation, terminated, truncated = self.happened[observation]
            total += factor * reward
            factor *= GAMMA
            if terminated:
                return total, 0.0, observation
            if truncated or observation not in self.happened:
                break
        return total, factor, observation


def assert_true_of(world: World, found: Transitions, n_step: int) -> None:
    for i, shown in enumerate(found.observations[:, 0].tolist()):
        total, discount, following = world.follow(shown, n_step)
        assert found.actions[i] == world.happened[shown][0]
        assert found.returns[i].item() == pytest.approx(total, abs=1e-5)
        assert found.discounts[i].item() == pytest.approx(discount, abs=1e-6)
        if discount:  # after termination it is whatever came next
            assert found.next_observations[i].tolist() == [following] * 2


@pytest.mark.parametrize("alpha", [None, 0.6], ids=["even", "by priority"])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("mode", ["same step", "next step"])
def test_what_is_drawn_is_what_happened_and_never_crosses_the_end_of_an_episode(
    mode: str, n_step: int, alpha: float | None
) -> None:
    world = World(3, mode)
    replay = Replay(60, gamma=GAMMA, n_step=n_step, alpha=alpha)
    generator = torch.Generator().manual_seed(0)
    kept: list[float] = []
    for turn in range(15):  # the ring of 20 steps of each environment goes round five times
        if turn in (2, 9):
            world.begin_anew()
        rollout = world.rollout(7)
        replay.add(rollout)
        kept += rollout.observations[:-1][rollout.valid][:, 0].tolist()
        found = replay.sample(400, generator)
        assert_true_of(world, found, n_step)
        newest = {float(o) for o in rollout.observations[:-1][rollout.valid][:, 0]}
        drawn = set(found.observations[:, 0].tolist())
        assert newest <= drawn  # 21 of at most 60, drawn 400 times
        assert drawn <= set(kept[-60:])
        assert len(replay) == min(21 * (turn + 1), 60)


def test_even_draws_are_even_where_steps_only_reset() -> None:
    replay = Replay(100, gamma=GAMMA)
    world = World(2, "next step", seed=1)
    for _ in range(6):  # past the first round
        replay.add(world.rollout(10))
    drawn = replay.sample(40_000, torch.Generator().manual_seed(0)).indices.bincount()
    kept = drawn[drawn > 0].double() / 40_000
    assert 70 <= len(kept) < 100
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / len(kept)), atol=0.004, rtol=0)


def test_the_sum_tree_finds_leaves_in_proportion_to_their_weights() -> None:
    size = 5000  # three levels
    tree = SumTree(size, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(size, dtype=torch.float64, generator=generator)
    weights[torch.rand(size, generator=generator) < 0.5] = 0.0
    order = torch.randperm(size, generator=generator)
    for part in order.split(700):
        tree.put(part, torch.ones(len(part), dtype=torch.float64))
        tree.put(part, weights[part])
    torch.testing.assert_close(tree.total(), weights.sum())
    middles = weights.cumsum(0) - weights / 2
    chosen = weights.nonzero()[:, 0]
    assert torch.equal(tree.find(middles[chosen]), chosen)
    edges = torch.cat([weights.cumsum(0)[:-1], weights.new_zeros(1)])
    assert bool(
        (tree.leaves[tree.find(edges.clamp_max(float(tree.total()) * (1 - 1e-12)))] > 0).all()
    )
    rebuilt = SumTree(size, torch.device("cpu"))
    rebuilt.put(torch.arange(size), weights)
    points = torch.rand(1000, dtype=torch.float64, generator=generator) * tree.total()
    assert torch.equal(rebuilt.find(points), tree.find(points))
    assert torch.equal(rebuilt.total(), tree.total())


def test_draws_follow_priorities_and_weights_make_up_for_them() -> None:
    world = World(2, "next step")
    replay = Replay(24, gamma=GAMMA, alpha=0.6)
    rollout = world.rollout(12)
    replay.add(rollout)
    generator = torch.Generator().manual_seed(0)
    places = rollout.valid.flatten().nonzero()[:, 0]
    errors = torch.arange(1.0, len(places) + 1)
    replay.prioritise(places, -errors)
    shares = torch.zeros(24, dtype=torch.float64)
    shares[places] = (errors.double() + 1e-6) ** 0.6
    shares /= shares.sum()
    drawn = replay.sample(100_000, generator, beta=0.5)
    found = drawn.indices.bincount(minlength=24).double() / 100_000
    torch.testing.assert_close(found, shares, atol=1e-4, rtol=0)  # strata make it nearly exact
    expected = (shares[drawn.indices] / shares[places].min()) ** -0.5
    torch.testing.assert_close(drawn.weights, expected.float())
    # What is new counts as much as the largest so far, and what is overwritten not at all.
    replay.add(world.rollout(3))
    leaves = replay.state()["priorities"].view(-1, 2)
    assert leaves.shape[0] == 13
    new = leaves[[12, 0, 1]].flatten()
    largest = (float(errors[-1]) + 1e-6) ** 0.6
    torch.testing.assert_close(new[new > 0], torch.full_like(new[new > 0], largest))
    assert len(new[new > 0]) >= 3
    assert leaves[2].sum() == 0


@pytest.mark.parametrize("alpha", [None, 0.6], ids=["even", "by priority"])
@pytest.mark.parametrize("mode", ["same step", "next step"])
@pytest.mark.parametrize("turns", [2, 9])
def test_a_restored_replay_goes_on_as_if_nothing_had_happened(
    turns: int, mode: str, alpha: float | None
) -> None:
    def make() -> Replay:
        return Replay(60, gamma=GAMMA, n_step=2, alpha=alpha)

    def draw(replay: Replay) -> Transitions:
        generator = torch.Generator().manual_seed(7)
        drawn = replay.sample(64, generator)
        replay.prioritise(drawn.indices, drawn.returns)
        return replay.sample(64, generator)

    world, replay, restored = World(3, mode), make(), make()
    assert replay.state() == {}
    for _ in range(turns):
        replay.add(world.rollout(7))
        draw(replay)
    state = {name: tensor.clone() for name, tensor in replay.state().items()}
    assert len(state["finals"]) == int((state["final"] >= 0).sum())
    held = min(7 * turns + 1, 21)
    assert state["observations"].shape == (held, 3, 2)
    assert state["observations"].untyped_storage().nbytes() == held * 3 * 2 * 4
    restored.restore(state, torch.device("cpu"))
    for _ in range(4):
        one, other = vars(draw(replay)), vars(draw(restored))
        for name, tensor in one.items():
            assert torch.equal(tensor, other[name]), name
        rollout: Any = world.rollout(7)
        replay.add(rollout)
        restored.add(rollout)
    one, other = replay.state(), restored.state()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
