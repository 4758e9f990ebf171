"""Environments: lepton's own, which step as one batch, and any of Gymnasium's."""

from functools import partial
from typing import Any

from gymnasium.envs.registration import register, registry

from lepton.environments.batched import BatchedVectorEnv, SingleEnv
from lepton.environments.scenarios import SCENARIOS, make_scenario

NAMESPACE = "lepton"


def _make_one(name: str, render_mode: str | None = None, **parameters: Any) -> SingleEnv:
    return SingleEnv(make_scenario(name, **parameters), render_mode)


def _make_many(
    name: str,
    num_envs: int,
    render_mode: str | None = None,
    device: str | None = None,
    **parameters: Any,
) -> BatchedVectorEnv:
    return BatchedVectorEnv(make_scenario(name, **parameters), num_envs, render_mode, device)


for _name in SCENARIOS:
    if f"{NAMESPACE}/{_name}-v1" not in registry:
        register(
            f"{NAMESPACE}/{_name}-v1",
            entry_point=partial(_make_one, _name),
            vector_entry_point=partial(_make_many, _name),
        )
