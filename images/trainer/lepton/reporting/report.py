"""lepton.report: progress of any program, shown by the operator."""

import logging

from lepton.reporting.reporter import REPORTER

_log = logging.getLogger("lepton")
_warned = False


def report(
    step: int | None = None,
    total: int | None = None,
    episodes: int | None = None,
    message: str | None = None,
    **metrics: object,
) -> None:
    """Tell where training stands: `lepton.report(step=100, total=1000, loss=0.5)`.

    In a pod of a LeptonTrainingJob the first call begins to serve it (LEPTON_PORT, rank 0 only),
    and from then on the process has a last word: its final progress, or, on any rank, the
    exception that ended it. Elsewhere it does nothing. What is not given keeps its last value;
    metrics are numbers, the first 16 names are kept, NaN and infinity are shown as null. Never
    raises: what goes wrong is logged once. A call takes a few microseconds.
    """
    global _warned
    try:
        try:
            REPORTER.start()
        finally:
            REPORTER.update(step, total, episodes, None, message, metrics)
    except Exception as error:
        if not _warned:
            _warned = True
            _log.warning("lepton.report could not report, training goes on: %s", error)
