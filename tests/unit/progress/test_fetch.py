"""A pod's answer is taken as a report, or refused in words; it can't do harm."""

import pytest
from aiohttp import web

from lepton_operator.progress.fetch import MAX_BODY_BYTES, DirectFetch, FetchError, parse_progress
from lepton_operator.reconcile.observed import PodView

RAW_POD = {
    "metadata": {
        "namespace": "default",
        "name": "job-1-0-abcde",
        "uid": "u",
        "labels": {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"},
    },
    "spec": {"nodeName": "node-1"},
    "status": {"phase": "Running", "podIP": "127.0.0.1"},
}


@pytest.fixture
async def answering():
    """Starts a pod's endpoint that answers with the given bytes; returns what asks it."""
    runners = []
    fetches = []

    async def start(body: bytes, status: int = 200) -> DirectFetch:
        async def progress(_: web.Request) -> web.Response:
            return web.Response(body=body, status=status)

        application = web.Application()
        application.router.add_get("/progress", progress)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        port = site._server.sockets[0].getsockname()[1]
        fetches.append(DirectFetch(port))
        return fetches[-1]

    yield start
    for fetch in fetches:
        await fetch.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_report_is_read(answering):
    fetch = await answering(b'{"step": 5, "totalSteps": 10, "metrics": {"loss": 0.5}, "new": 1}')
    report = await fetch(PodView.from_object(RAW_POD))
    assert (report.step, report.fraction, report.metrics) == (5, 0.5, {"loss": 0.5})


async def test_a_flood_is_cut_off_and_refused(answering):
    fetch = await answering(b" " * (MAX_BODY_BYTES * 20))
    with pytest.raises(FetchError, match="longer than"):
        await fetch(PodView.from_object(RAW_POD))


async def test_an_error_of_the_pod_is_told_with_its_status(answering):
    fetch = await answering(b"", status=500)
    with pytest.raises(FetchError, match="answered 500"):
        await fetch(PodView.from_object(RAW_POD))


async def test_a_pod_that_nobody_listens_in_does_not_answer():
    fetch = DirectFetch(1)
    try:
        with pytest.raises(FetchError, match="does not answer"):
            await fetch(PodView.from_object(RAW_POD))
    finally:
        await fetch.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"not json", b'{"step": -1}', b'{"step": "many"}', b'{"stepsPerSecond": NaN}'],
)
def test_what_is_not_a_report_is_refused(body):
    with pytest.raises(FetchError, match="not a progress report"):
        parse_progress(body)
