"""A termination message is lepton's own, or text of another program."""

import pytest

from lepton.spec.report import ErrorReport, LastWord
from lepton_operator.progress.last_words import parse_last_word


def test_a_last_word_survives_its_way_through_the_termination_message():
    word = LastWord(rank=1, error=ErrorReport(line="ValueError: boom"))
    assert parse_last_word(word.to_json()) == word


@pytest.mark.parametrize(
    "message",
    [None, "", "Traceback ...", "{", '{"rank": 1, "lepton": 2}', '{"lepton": 1, "rank": -1}', "[]"],
)
def test_anything_else_is_not_one(message):
    assert parse_last_word(message) is None
