"""Fixtures of the fault campaign, which needs a cluster that no other operator works on.

`make test-faults` starts what it needs; by hand: TRAINER_IMAGE=… pytest tests/faults.
"""

import os

import pytest

pytest.register_assert_rewrite("campaign")

import steps  # noqa: E402
from campaign.baseline import Baselines  # noqa: E402
from campaign.scene import Cluster  # noqa: E402


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report) -> None:
    """Tell of a failure when it happens, not at the end of a campaign of twenty minutes."""
    if report.failed:
        print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster."""
    image = os.environ.get("TRAINER_IMAGE")
    if image is None:
        pytest.exit("TRAINER_IMAGE is not set; run `make test-faults`", 1)
    selector = "app.kubernetes.io/name=lepton-operator"
    others = steps.kubectl("get", "pods", "--all-namespaces", "-l", selector, "-o", "name")
    if others:
        pytest.exit("an operator runs in the cluster and would work on the same jobs", 1)
    return Cluster(steps.kubeconfig(), image)


@pytest.fixture(scope="session")
def baselines(cluster, tmp_path_factory) -> Baselines:
    """Each life as it is without a fault, lived when it is first asked for."""
    return Baselines(cluster, tmp_path_factory.mktemp("clean"))
