"""A job's good life: trained together, watched, judged, kept."""

import hashlib
import re


def test_two_workers_with_gpus_train_together_progress_climbs_and_the_model_is_kept(jobs):
    # Long enough that two workers of any speed show several of their steps on the way.
    steps = 3_000_000
    jobs.apply(
        "pair",
        environment={"count": 128},
        agent={"rewardThreshold": 150},
        trainer={"maxSteps": steps, "seed": 1},
        evaluation={"episodes": 8, "everySteps": steps},
        workers=2,
        resources={"limits": {"nvidia.com/gpu": 1}},
        storage={"size": "100Mi"},
    )
    running = jobs.until("pair", "runs", lambda s: s.get("phase") == "Running")
    assert running["workers"]["total"] == 2
    pods = jobs.items("pods", "training.lepton.ai/job-name=pair")
    assert len(pods) == 2
    for pod in pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    first = jobs.until("pair", "shows progress", lambda s: (s.get("progress") or {}).get("step"))
    (names,) = jobs.items("endpointslices", "training.lepton.ai/job-name=pair")
    pods = jobs.items("pods", "training.lepton.ai/job-name=pair")
    assert sorted(end["addresses"][0] for end in names["endpoints"]) == sorted(
        pod["status"]["podIP"] for pod in pods
    )
    status = jobs.finished("pair")
    assert status["progress"]["step"] > first["progress"]["step"]
    assert status["phase"] == "Complete", status
    assert status["progress"]["percent"] == 100
    assert status["progress"]["step"] >= steps
    assert status["evaluation"]["episodes"] == 8
    assert status["evaluation"]["passed"] is (status["evaluation"]["rewardMean"] >= 150)
    assert status["workers"]["succeeded"] == 2
    assert any(m["name"] == "episode_reward_mean" for m in status["metrics"])

    uri = status["model"]["uri"]
    found = re.fullmatch(r"pvc://pair/(.+\.pth)", uri)
    assert found, uri
    digest = digest_on_claim(jobs, "pair", found[1])
    assert digest == status["model"]["sha256"]

    line = jobs.kubectl("get", "ltj", "pair").stdout.splitlines()
    assert line[0].split() == [
        "NAME", "PHASE", "PROGRESS", "REWARD", "WORKERS", "RESTARTS", "ETA", "AGE",
    ]  # fmt: skip
    assert "Complete" in line[1]
    assert "2/2" in line[1]


def digest_on_claim(jobs, claim: str, path: str) -> str:
    """SHA-256 of a file on a claim, computed by a pod that mounts it."""
    import json

    trainer = jobs.items("pods")[0]["spec"]["containers"][0]["image"]
    program = "import hashlib,sys;print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "reader",
                    "image": trainer,
                    "command": ["python3", "-c", program, f"/claim/{path}"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "claim", "mountPath": "/claim"}],
                }
            ],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }
    jobs.kubectl("apply", "-f", "-", input=json.dumps(pod))
    jobs.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod/reader")
    digest = jobs.kubectl("logs", "reader").stdout.strip()
    assert len(digest) == len(hashlib.sha256().hexdigest())
    return digest


def test_any_gymnasium_environment_trains_by_its_name(jobs):
    jobs.apply(
        "pendulum",
        environment={"name": "Pendulum-v1", "parameters": {"g": 9.81}},
        trainer={"maxSteps": 8192},
        evaluation={"episodes": 2},
    )
    status = jobs.finished("pendulum")
    assert status["phase"] == "Complete", status
    assert -2500 < status["evaluation"]["rewardMean"] < 0


def test_a_program_of_ones_own_shows_its_progress_by_lepton_report(jobs):
    program = """
import time, lepton
for step in range(1, 41):
    time.sleep(0.5)
    lepton.report(step=step, total=40, loss=1 / step, message=f"epoch {step}")
"""
    jobs.apply("own", command=["python3", "-c", program])
    seen = jobs.until(
        "own", "shows progress", lambda s: s["progress"]["percent"] and s["progress"]["remaining"]
    )
    assert seen["progress"]["totalSteps"] == 40
    # It makes two steps a second at the most.
    assert seen["progress"]["remainingSeconds"] >= (40 - seen["progress"]["step"]) / 2
    status = jobs.finished("own")
    assert status["phase"] == "Complete"
    assert status["progress"]["step"] == 40
    assert "remainingSeconds" not in status["progress"]
    assert {"name": "loss", "value": "0.025"} in status["metrics"]


def test_a_program_that_never_reports_still_completes(jobs):
    jobs.apply("silent", command=["python3", "-c", "print('done')"])
    status = jobs.finished("silent")
    assert status["phase"] == "Complete"
    assert "model" not in status
