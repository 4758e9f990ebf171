"""Environments: lepton's own, which step as one batch, and any of Gymnasium's."""

from gymnasium.envs.registration import register, registry

from lepton.environments.batched import BatchedVectorEnv, SingleEnv
from lepton.environments.cartpole import CARTPOLE
from lepton.environments.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {f"lepton/{CARTPOLE.name}-v1": CARTPOLE}
"""Environments that lepton brings, by Gymnasium id."""


def _register(identifier: str, scenario: Scenario) -> None:
    if identifier in registry:
        return

    def make_one(**parameters: object) -> SingleEnv:
        return SingleEnv(scenario, **parameters)  # type: ignore[arg-type]

    def make_many(num_envs: int, **parameters: object) -> BatchedVectorEnv:
        return BatchedVectorEnv(scenario, num_envs, **parameters)  # type: ignore[arg-type]

    register(
        identifier,
        entry_point=make_one,
        vector_entry_point=make_many,  # type: ignore[arg-type]
        max_episode_steps=scenario.max_steps,
    )


for _identifier, _scenario in SCENARIOS.items():
    _register(_identifier, _scenario)
