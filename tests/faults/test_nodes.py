"""Row 18: a node dies under a job: its kubelet is stopped, and goes on later."""

import os
import signal

import pytest
from lepton_cluster import machine
from lepton_cluster.layout import default_layout

from campaign.lives import outcome_of
from campaign.scene import scene
from campaign.stage import Stage
from steps import EXISTING

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(EXISTING, reason="nodes of an existing cluster are not ours to stop"),
]

SOON = [
    {"key": f"node.kubernetes.io/{taint}", "effect": "NoExecute", "operator": "Exists",
     "tolerationSeconds": 2}
    for taint in ("unreachable", "not-ready")
]  # fmt: skip
"""Else pods stay bound to a dead node for five minutes."""


@pytest.fixture
def kubelet():
    """The pid of the node's kubelet, which goes on at the end whatever happens."""
    init = machine.find_init(default_layout())
    assert init is not None
    (found,) = (p.pid for p in machine.processes(init) if p.name == "kubelet")
    yield found
    os.kill(found, signal.SIGCONT)


async def test_row_18_a_job_whose_node_dies_goes_on_when_there_is_one_again(
    cluster, tmp_path, kubelet
):
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(template={"tolerations": SOON})
        await stage.runs()
        os.kill(kubelet, signal.SIGSTOP)
        await here.until("another attempt is counted", lambda: stage.attempt == 2)
        (ended,) = stage.status["attempts"]
        assert ended["class"] == "Infrastructure", ended
        assert ended["reason"] in ("NodeLost", "Evicted")
        await here.until(
            "the lost pod is given up",
            lambda: any(j["metadata"]["name"] == "job-2" for j in stage.children("jobs")),
        )
        os.kill(kubelet, signal.SIGCONT)
        await stage.runs(2)
        await stage.end_well()
        outcome = await outcome_of(stage)
        # What can't be known to have ended is given up after a minute: the one exception.
        assert all("job-1-0" in text or "attempts [1, 2]" in text for text in outcome.forbidden)
        assert outcome.end["status"]["phase"] == "Complete"
        assert outcome.end["status"]["restarts"] == 1
        assert outcome.end["status"]["interruptions"] == 1
