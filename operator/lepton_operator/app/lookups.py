"""What is read of the API server for few jobs and moments only, so that no cache is kept of it."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from lepton_operator.app.resources import LIMIT_RANGES, NODES, QUOTAS
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.resources import Resource
from lepton_operator.reconcile.observed import MemoryLimits, NodeView, Observed
from lepton_operator.reconcile.plan import LookUp

log = logging.getLogger(__name__)

PAGE = 500
NOT_OURS_TO_SEE = (403, 404)
"""An administrator may have kept these rights from us; then nothing is known, which will do."""


class Lookups:
    """Answers what a plan asks to look up. Raises ApiError where asking again may help."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def with_answers(self, wanted: LookUp, observed: Observed, namespace: str) -> Observed:
        """What was observed, and the answers."""
        if wanted.limits:
            ranges = [item async for item in self._list(LIMIT_RANGES, namespace)]
            quotas = [item async for item in self._list(QUOTAS, namespace)]
            observed = replace(observed, limits=MemoryLimits.from_objects(ranges, quotas))
        if wanted.nodes:
            # Trimmed one by one: a node says a lot about itself.
            nodes = [NodeView.from_object(item) async for item in self._list(NODES)]
            observed = replace(observed, nodes=tuple(nodes))
        return observed

    async def _list(
        self, resource: Resource, namespace: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects, page by page; none where we may not see them."""
        params = {"limit": str(PAGE)}
        while True:
            try:
                page = await self._client.get(resource.path(namespace), params)
            except ApiError as error:
                if error.status not in NOT_OURS_TO_SEE:
                    raise
                log.info("%s can't be listed: %s", resource.plural, error)
                return
            for item in page.get("items") or ():
                yield item
            following = page["metadata"].get("continue")
            if not following:
                return
            params["continue"] = following
