"""The scheduler's reasons in plain words."""

import pytest

from lepton_operator.reconcile.unschedulable import in_plain_words

UNHELPFUL = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated"
            f" taint {{node-role.kubernetes.io/control-plane: }}. {UNHELPFUL}",
            "none of 3 nodes will do: not enough free nvidia.com/gpu (1),"
            " taint node-role.kubernetes.io/control-plane not tolerated (2)",
        ),
        (
            "0/17 nodes are available: 17 node(s) had untolerated taint(s). no new claims to"
            f" deallocate, {UNHELPFUL}",
            "none of 17 nodes will do: a taint not tolerated (17)",
        ),
        (
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
            "the only node will not do: not enough free cpu (1), not enough free memory (1)",
        ),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {dedicated: gpu}, 3 node(s)"
            " didn't match Pod's node affinity/selector.",
            "none of 4 nodes will do: taint dedicated=gpu not tolerated (1),"
            " not among the nodes that the job asks for (3)",
        ),
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "the only node will not do: the claim has no volume yet",
        ),
        (
            '0/2 nodes are available: persistentvolumeclaim "data" not found.',
            'none of 2 nodes will do: persistentvolumeclaim "data" not found',
        ),
        (
            "0/2 nodes are available: 2 node(s) had something new, like a comma.",
            "none of 2 nodes will do: node(s) had something new, like a comma (2)",
        ),
        ("no nodes available to schedule pods", "no nodes available to schedule pods"),
        ("Scheduling is blocked due to non-empty scheduling gates",) * 2,
        ("", ""),
    ],
)
def test_reasons_are_told_in_plain_words_with_the_number_of_nodes(message, words):
    assert in_plain_words(message) == words
