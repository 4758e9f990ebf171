"""What Helm installed: two replicas, one leader, least rights."""

import pytest

from install import RELEASE
from support import until


def test_two_replicas_run_and_one_of_them_leads(kubectl, operator):
    names = kubectl(
        "-n", operator, "get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}",
        "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}",
    ).stdout.split()  # fmt: skip
    assert len(names) == 2

    def holder():
        return kubectl(
            "-n", operator, "get", "lease", RELEASE, "-o", "jsonpath={.spec.holderIdentity}"
        ).stdout

    until("one of them holds the lease", lambda: holder() in names)


@pytest.mark.parametrize(
    ("verb", "resource", "subresource", "allowed"),
    [
        ("create", "jobs.batch", "", "yes"),
        ("patch", "leptontrainingjobs.training.lepton.ai", "status", "yes"),
        ("get", "pods", "log", "yes"),
        ("get", "secrets", "", "no"),
        ("create", "pods", "exec", "no"),
        ("get", "pods", "proxy", "no"),
        ("delete", "pods", "", "no"),
        ("delete", "leptontrainingjobs.training.lepton.ai", "", "yes"),  # ttlSecondsAfterFinished
        ("update", "leptontrainingjobs.training.lepton.ai", "", "no"),
        ("patch", "leptontrainingjobs.training.lepton.ai", "", "no"),
        ("create", "leptontrainingjobs.training.lepton.ai", "", "no"),
        ("*", "*", "", "no"),
    ],
)
def test_the_operator_may_do_its_work_and_nothing_else(
    kubectl, operator, verb, resource, subresource, allowed
):
    # `pods/log` would be read as a pod of the name log.
    answer = kubectl(
        "auth", "can-i", verb, resource, f"--subresource={subresource}", "-n", "default",
        f"--as=system:serviceaccount:{operator}:{RELEASE}", check=False,
    )  # fmt: skip
    assert answer.stdout.strip() == allowed, answer.stderr


def test_who_may_edit_a_namespace_may_run_its_jobs_and_nothing_else_of_them(
    kubectl, operator, namespace
):
    kubectl(
        "create", "rolebinding", "tenants", "--clusterrole=edit", "--user=tenant",
        f"--namespace={namespace}",
    )  # fmt: skip
    for verb, subresource, place, allowed in (
        ("create", "", namespace, "yes"),
        ("delete", "", namespace, "yes"),
        ("patch", "scale", namespace, "yes"),
        ("get", "status", namespace, "yes"),
        ("patch", "status", namespace, "no"),
        ("update", "status", namespace, "no"),
        ("create", "", "default", "no"),
        ("get", "", "default", "no"),
    ):
        answer = kubectl(
            "auth", "can-i", verb, "leptontrainingjobs.training.lepton.ai",
            f"--subresource={subresource}", f"--namespace={place}", "--as=tenant", check=False,
        )  # fmt: skip
        assert answer.stdout.strip() == allowed, (verb, subresource, place, answer.stderr)


def test_probes_and_metrics_answer(kubectl, operator):
    program = (
        "import urllib.request as u\n"
        "for p in ('healthz', 'readyz', 'metrics'):\n"
        "    print(u.urlopen(f'http://localhost:8080/{p}', timeout=5).read().decode())"
    )
    printed = kubectl(
        "-n", operator, "exec", f"deployment/{RELEASE}", "--", "python3", "-c", program
    ).stdout
    assert printed.startswith("ok\n\nok\n")
    assert "lepton_operator_leader" in printed
