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
    specs = {path.stem: yaml.safe_load(path.read_text())["spec"] for path in SCENARIOS}
    for name, spec in specs.items():
        spec["trainer"]["maxSteps"] = 20_000
        jobs.apply(name, **spec)
    for name, spec in specs.items():
        status = jobs.finished(name, timeout=400)
        assert status["phase"] == "Complete", (name, status)
        assert status["evaluation"]["episodes"] == spec["evaluation"]["episodes"], name
        assert status["evaluation"].get("threshold") == spec["agent"].get("rewardThreshold"), name
        assert status["model"]["sha256"], name
