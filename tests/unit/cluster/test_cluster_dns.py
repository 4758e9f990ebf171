"""The question that `up` asks the cluster's DNS server."""

import struct

import pytest
from lepton_cluster.dns import is_answered, question


def test_a_question_spells_the_name_label_by_label() -> None:
    assert question("a.bc", 7).endswith(b"\x01a\x02bc\x00" + struct.pack("!2H", 1, 1))


@pytest.mark.parametrize(
    ("flags", "answers", "answered"),
    [
        (0x8180, 1, True),
        (0x8180, 0, False),
        (0x8183, 1, False),  # no such name
        (0x0180, 1, False),  # a question, not a reply
    ],
)
def test_only_a_reply_without_error_and_with_an_address_counts(
    flags: int, answers: int, answered: bool
) -> None:
    reply = struct.pack("!6H", 7, flags, 1, answers, 0, 0)
    assert is_answered(reply, 7) is answered
    assert not is_answered(reply, 8)


def test_half_a_reply_is_none() -> None:
    assert not is_answered(b"\x00\x07", 7)
