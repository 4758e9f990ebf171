"""Every manifest in examples/ runs as it stands."""

import pytest
import yaml

from steps import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_completes_and_reaches_the_threshold_that_it_names(jobs, path):
    manifest = yaml.safe_load(path.read_text())
    jobs.kubectl("apply", "-f", str(path))
    status = jobs.finished(manifest["metadata"]["name"], timeout=400)
    assert status["phase"] == "Complete", status
    if "agent" in manifest["spec"]:
        assert status["evaluation"]["passed"], status["evaluation"]
