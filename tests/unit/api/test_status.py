"""Reading and writing the status, also one that another hand wrote."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lepton_operator.api.job import TrainingJob
from lepton_operator.api.names import ConditionType
from lepton_operator.api.status import LeptonTrainingJobStatus

FINISHED = {
    "type": "Finished",
    "status": "True",
    "reason": "TrainingComplete",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_what_is_empty_is_not_written():
    assert LeptonTrainingJobStatus(attempt=1).to_json_object() == {
        "attempt": 1,
        "restarts": 0,
        "interruptions": 0,
    }


def test_a_written_status_reads_as_it_was():
    raw = {
        "phase": "Running",
        "attempt": 2,
        "restarts": 1,
        "interruptions": 1,
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{**FINISHED, "message": ""}],
        "metrics": [{"name": "loss", "value": "0.1"}],
        "attempts": [{"number": 1, "class": "Infrastructure", "exitCode": 137}],
    }
    assert LeptonTrainingJobStatus.read(raw).to_json_object() == raw


def test_a_finished_job_stays_finished_beside_conditions_of_a_newer_version():
    status = LeptonTrainingJobStatus.read(
        {"conditions": [{**FINISHED, "type": "Deployed"}, FINISHED], "phase": "Deploying"}
    )
    assert status.is_true(ConditionType.FINISHED)
    assert status.phase is None


def test_only_what_cannot_be_read_is_left_out():
    status = LeptonTrainingJobStatus.read(
        {
            "attempt": 3,
            "restarts": "many",
            "conditions": [{"type": "Broken"}, FINISHED],
            "attempts": [{"number": 1}, {"number": "two"}, {"number": 2, "class": "Stalled"}],
        }
    )
    assert status.attempt == 3
    assert status.restarts == 0
    assert status.is_true(ConditionType.FINISHED)
    assert [a.number for a in status.attempts] == [1, 2]


TEXT = st.text("aZ1 \n\x00é😀", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = [f.alias or n for n, f in LeptonTrainingJobStatus.model_fields.items()]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_status_whatever_its_text_keeps_a_job_from_being_read(raw: dict[str, Any]):
    metadata = {"namespace": "n", "name": "j", "uid": "u", "resourceVersion": "1"}
    job = TrainingJob.from_object({"metadata": metadata, "spec": {}, "status": raw})
    assert LeptonTrainingJobStatus.read(job.status.to_json_object()) == job.status
