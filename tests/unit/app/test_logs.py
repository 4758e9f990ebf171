"""Log lines are JSON objects for machines and short lines for people."""

import json
import logging

from lepton_operator.app.logs import JsonFormatter, TextFormatter


def record(**extra: object) -> logging.LogRecord:
    """A record as `log.warning("%d jobs", 3, extra=...)` makes it."""
    made = logging.LogRecord("lepton", logging.WARNING, "file", 1, "%d jobs", (3,), None)
    vars(made).update(extra)
    return made


def test_a_json_line_holds_level_message_and_extras():
    entry = json.loads(JsonFormatter().format(record(job="default/a")))
    assert entry["level"] == "warning"
    assert entry["message"] == "3 jobs"
    assert entry["job"] == "default/a"
    assert entry["time"].endswith("+00:00")


def test_a_text_line_ends_with_the_extras():
    assert TextFormatter().format(record(job="default/a")).endswith("3 jobs  job=default/a")


def test_what_kopf_attaches_to_its_records_is_left_out():
    entry = json.loads(JsonFormatter().format(record(k8s_ref={"uid": "u"}, settings=object())))
    assert not {"k8s_ref", "settings"} & entry.keys()


def test_an_exception_stays_in_its_line():
    try:
        raise ValueError("boom")
    except ValueError as error:
        made = record()
        made.exc_info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "ValueError: boom" in json.loads(line)["exception"]
