"""What a worker finds in its pod that would let it speak to the API server: nothing."""

from support import failed

IDENTITY = {
    "name": "identity",
    "projected": {
        "sources": [{"serviceAccountToken": {"path": "token", "audience": "sts.example.com"}}]
    },
}
LOOK = """
import base64, json, os, ssl, urllib.error, urllib.request
assert not os.path.exists("/var/run/secrets/kubernetes.io"), "a token is mounted"
token = open("/identity/token").read()
claims = token.split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
assert claims["aud"] == ["sts.example.com"], claims
request = urllib.request.Request(
    "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}/api".format(**os.environ),
    headers={"Authorization": "Bearer " + token},
)
unverified = ssl._create_unverified_context()
try:
    urllib.request.urlopen(request, timeout=30, context=unverified)
except urllib.error.HTTPError as error:
    assert error.code == 401, error
else:
    raise AssertionError("the API server takes the token")
"""


def test_a_worker_finds_no_token_but_one_for_somebody_else_that_was_asked_for(jobs):
    jobs.apply(
        "looks",
        command=["python3", "-c", LOOK],
        failurePolicy={"maxRestarts": 0},
        template={
            "volumes": [IDENTITY],
            "volumeMounts": [{"name": "identity", "mountPath": "/identity"}],
        },
    )
    status = jobs.finished("looks")
    assert status["phase"] == "Complete", failed(status)["message"]
