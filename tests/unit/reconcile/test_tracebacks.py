"""What a program died of, read from the end of its log. The logs are torchrun's of torch 2.15."""

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_operator.reconcile.tracebacks import Raised, last_line, last_traceback_line

LOGS = Path(__file__).parents[2] / "data" / "logs"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


def raised(text: str) -> Raised | None:
    return last_traceback_line(textwrap.dedent(text))


def test_the_exception_and_the_innermost_line_of_own_code():
    assert raised(
        """
        step 10
        Traceback (most recent call last):
          File "/app/train.py", line 30, in <module>
            main()
          File "/app/train.py", line 12, in main
            model(x)
          File "/usr/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1, in _call
            return forward()
                   ^^^^^^^^^
        ValueError: boom
        """
    ) == Raised("ValueError: boom", "train.py:12")


def test_of_a_chain_it_is_the_last_exception():
    found = raised(
        """
        Traceback (most recent call last):
          File "a.py", line 1, in f
            {}["x"]
        KeyError: 'x'

        During handling of the above exception, another exception occurred:

        Traceback (most recent call last):
          File "a.py", line 3, in f
            raise RuntimeError("no x")
        RuntimeError: no x
        """
    )
    assert str(found) == "RuntimeError: no x (a.py:3)"


def test_a_message_of_several_lines_is_told_by_its_first():
    found = raised(
        """
        Traceback (most recent call last):
          File "a.py", line 1, in <module>
            raise ValueError("one\\ntwo")
        ValueError: one
        two: three
        exiting
        """
    )
    assert found == Raised("ValueError: one", "a.py:1")


def test_a_message_that_begins_on_the_next_line_is_taken_along():
    found = raised(
        """
        Traceback (most recent call last):
          File "a.py", line 1, in <module>
            load()
        RuntimeError:
        Expected 3 channels
        """
    )
    assert found is not None
    assert found.line == "RuntimeError: Expected 3 channels"


def test_an_exception_without_message():
    found = raised(
        """
        Traceback (most recent call last):
          File "a.py", line 1, in <module>
            assert False
                   ^^^^^
        AssertionError
        """
    )
    assert found == Raised("AssertionError", "a.py:1")


def test_a_traceback_that_was_logged_and_survived_gives_way_to_the_last_one():
    one = 'Traceback (most recent call last):\n  File "a.py", line {0}, in f\n    x\n{1}\n'
    found = last_traceback_line(
        one.format(1, "OSError: retrying") + "retried\n" + one.format(2, "KeyError: 'y'") + "bye\n"
    )
    assert found == Raised("KeyError: 'y'", "a.py:2")


def test_an_exception_group_is_told_by_its_head_or_a_member():
    found = raised(
        """
          + Exception Group Traceback (most recent call last):
          |   File "a.py", line 1, in <module>
          |     raise ExceptionGroup("many", [ValueError("a")])
          | ExceptionGroup: many (1 sub-exception)
          +-+---------------- 1 ----------------
            | ValueError: a
            +------------------------------------
        """
    )
    assert found is not None
    assert found.line == "ExceptionGroup: many (1 sub-exception)"


def test_lines_of_two_ranks_that_interleave_are_kept_apart():
    found = raised(
        """
        [rank0]: Traceback (most recent call last):
        [rank1]: Traceback (most recent call last):
        [rank0]:   File "a.py", line 5, in <module>
        [rank1]:   File "a.py", line 9, in <module>
        [rank1]:     raise ValueError("boom")
        [rank0]:     all_reduce(x)
        [rank1]: ValueError: boom
        [rank0]: RuntimeError: [gloo/pair.cc:561] Connection closed by peer [10.0.0.1]:1
        """
    )
    assert found == Raised("ValueError: boom", "a.py:9", rank=1)


def test_below_torchrun_it_is_the_process_that_failed_first_not_its_peers():
    found = last_traceback_line(log("torchrun-peers"))
    assert found == Raised("ValueError: boom in rank 1", "train.py:9", rank=1, exit_code=1)


def test_a_victim_that_torchrun_names_first_is_not_blamed():
    text = log("torchrun-peers").replace("rank      : 1 (local_rank: 1)", "rank      : 0 (local")
    found = last_traceback_line(text)
    assert found is not None
    assert (found.line, found.rank) == ("ValueError: boom in rank 1", 1)


def test_below_torchrun_with_record_it_is_the_same_error():
    found = last_traceback_line(log("torchrun-record"))
    assert found == Raised("RuntimeError: first line", "train.py:6", rank=1, exit_code=1)


def test_a_process_killed_below_torchrun_has_its_rank_and_signal_and_no_line():
    found = last_traceback_line(log("torchrun-killed"))
    assert found == Raised("", None, rank=1, exit_code=-9)


@pytest.mark.parametrize("text", ["", "done\n", "Traceback (most recent call last):\n  File"])
def test_a_text_without_a_whole_traceback_tells_nothing(text):
    assert last_traceback_line(text) is None


def test_a_log_cut_off_at_its_head_still_tells_the_rest():
    text = log("torchrun-peers")
    assert last_traceback_line(text[len(text) // 4 :]) is not None


def test_the_last_line_of_any_other_program():
    assert last_line("starting\n/bin/sh: 1: trian: not found\n\n") == "/bin/sh: 1: trian: not found"
    assert last_line(" \n") is None


LINES = st.sampled_from(
    [*log("torchrun-record").splitlines(), "[rank1]: ", "", "x: y", "ValueError:", "  | a", "+ b"]
)


@given(st.lists(LINES | st.text(max_size=20), max_size=40))
def test_no_text_is_too_strange(lines):
    text = "\n".join(lines)
    found = last_traceback_line(text)
    assert found is None or found.line.strip() or found.exit_code is not None
    line = last_line(text)
    assert line is None or line.strip()
