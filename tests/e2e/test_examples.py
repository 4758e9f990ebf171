"""Manifests in examples/ run on the cluster."""

import pytest
import yaml

from steps import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
SCENARIOS = sorted((ROOT / "examples" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_completes_and_reaches_the_threshold_that_it_names(jobs, path):
    manifest = yaml.safe_load(path.read_text())
    jobs.kubectl("apply", "-f", str(path))
    status = jobs.finished(manifest["metadata"]["name"], timeout=400)
    assert status["phase"] == "Complete", status
    if "agent" in manifest["spec"]:
        assert status["evaluation"]["passed"], status["evaluation"]


def test_the_job_of_every_scenario_trains_and_is_judged_by_its_score(jobs):
    # As they stand they take minutes each; `make bench-library` shows what they reach.
    for path in SCENARIOS:
        spec = yaml.safe_load(path.read_text())["spec"]
        spec["trainer"]["maxSteps"] = 20_000
        jobs.apply(path.stem, **spec)
    for path in SCENARIOS:
        status = jobs.finished(path.stem, timeout=400)
        assert status["phase"] == "Complete", (path.stem, status)
        assert status["evaluation"]["threshold"] == 100, path.stem
        assert status["model"]["sha256"], path.stem
