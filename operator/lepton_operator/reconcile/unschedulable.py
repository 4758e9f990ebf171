"""Says in plain words why the scheduler finds no node for a pod.

Shape of its message: kube-scheduler's FitError, and the filters' reasons that it counts.
"""

import re

MESSAGE = re.compile(r"0/(?P<nodes>\d+) nodes are available: (?P<reasons>.+)", re.DOTALL)
WHAT_FOLLOWS = re.compile(r"[.,]? ?(?:no new claims to deallocate|preemption:).*", re.DOTALL)
"""What preempting others would help, which users can't act upon."""
COUNTED = re.compile(r"(?P<count>\d+) (?P<reason>.+)", re.DOTALL)
NEXT_REASON = re.compile(r", (?=\d+ )")

WORDS = (
    (r"Insufficient (\S+)", r"not enough free \1"),
    (r"Too many pods", "no room for another pod"),
    (r"node\(s\) had untolerated taint \{(\S+): \}", r"taint \1 not tolerated"),
    (r"node\(s\) had untolerated taint \{(\S+): (\S+)\}", r"taint \1=\2 not tolerated"),
    (r"node\(s\) had untolerated taint\(s\)", "a taint not tolerated"),
    (r"node\(s\) were unschedulable", "cordoned"),
    (
        r"node\(s\) didn't match Pod's node affinity/selector",
        "not among the nodes that the job asks for",
    ),
    (r"node\(s\) didn't match pod affinity rules", "not where the job's other workers are"),
    (r"node\(s\) didn't match pod anti-affinity rules", "too close to other pods"),
    (r"node\(s\) didn't satisfy existing pods anti-affinity rules", "kept free by other pods"),
    (
        r"node\(s\) didn't match pod topology spread constraints(?: \(missing required label\))?",
        "full in the spread that the job asks for",
    ),
    (r"node\(s\) had volume node affinity conflict", "out of the volume's reach"),
    (r"node\(s\) didn't match PersistentVolume's node affinity", "out of the volume's reach"),
    (r"node\(s\) didn't find available persistent volumes to bind", "no volume for the claim"),
    (r"pod has unbound immediate PersistentVolumeClaims", "the claim has no volume yet"),
)


def tells_of_nodes(message: str) -> bool:
    """Whether the message says what is wrong with which nodes."""
    return MESSAGE.match(message.strip()) is not None


def in_plain_words(message: str) -> str:
    """`none of 3 nodes will do: not enough free nvidia.com/gpu (1), cordoned (2)`; what is not
    known stays in the scheduler's words."""
    found = MESSAGE.match(message.strip())
    if found is None:
        return message.strip()
    counted = WHAT_FOLLOWS.sub("", found["reasons"]).strip().rstrip(".")
    reasons = ", ".join(_reason(text) for text in NEXT_REASON.split(counted))
    nodes = int(found["nodes"])
    none = "the only node will not do" if nodes == 1 else f"none of {nodes} nodes will do"
    return f"{none}: {reasons}"


def _reason(text: str) -> str:
    counted = COUNTED.fullmatch(text)
    if counted is None:
        return _plain(text)
    return f"{_plain(counted['reason'])} ({counted['count']})"


def _plain(reason: str) -> str:
    for pattern, words in WORDS:
        match = re.fullmatch(pattern, reason)
        if match is not None:
            return match.expand(words)
    return reason
