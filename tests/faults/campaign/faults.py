"""What can happen to a request on its way: refusals, delays, lost requests and answers, hooks."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from campaign.requests import ApiRequest, Which


class Cut(Exception):  # noqa: N818
    """The connection ends without a (complete) answer."""


@dataclass(frozen=True)
class Answer:
    """An answer as a whole."""

    code: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Passage:
    """A request on its way: what it is, and how to let it pass."""

    request: ApiRequest
    address: str
    """Path and query."""
    forward: Callable[[], Awaitable[Answer]]
    """Send it to the API server; returns what that answers."""


class Fault(Protocol):
    """Something that happens to requests that are answered at once (all but watches)."""

    async def strike(self, passage: Passage) -> Answer:
        """What the operator is told; raises Cut when it is told nothing."""


def status(code: int, reason: str, message: str = "", **details: Any) -> dict[str, Any]:
    """A metav1.Status of a failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message or f"injected {reason}",
        "details": details,
    }


@dataclass(frozen=True)
class Refuse:
    """An error instead of the answer; the API server sees nothing of the request."""

    code: int
    reason: str
    message: str = ""
    retry_after: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        details = dict(self.details)
        headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
            details["retryAfterSeconds"] = self.retry_after
        told = status(self.code, self.reason, self.message, **details)
        return Answer(self.code, json.dumps(told).encode(), headers)


@dataclass(frozen=True)
class Delay:
    """The request arrives late."""

    seconds: float

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        await asyncio.sleep(self.seconds)
        return await passage.forward()


@dataclass(frozen=True)
class LoseAnswer:
    """The API server does it, and the operator is not told."""

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        await passage.forward()
        raise Cut


@dataclass(frozen=True)
class LoseRequest:
    """The API server never hears of it."""

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        raise Cut


@dataclass(frozen=True)
class Before:
    """Do something first; if it raises Cut, the request goes no further."""

    action: Callable[[], Awaitable[None]]

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        await self.action()
        return await passage.forward()


@dataclass(frozen=True)
class After:
    """Do something once the API server has answered; if it raises Cut, the answer is lost."""

    action: Callable[[], Awaitable[None]]

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        answer = await passage.forward()
        await self.action()
        return answer


@dataclass(frozen=True)
class Keep:
    """Lets pass, and keeps what was answered, by path and query: for Replay."""

    answers: dict[str, Answer] = field(default_factory=dict)

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        answer = await passage.forward()
        self.answers[passage.address] = answer
        return answer


@dataclass(frozen=True)
class Replay:
    """Answers what was answered before: a list from an API server that lags behind."""

    kept: Keep

    async def strike(self, passage: Passage) -> Answer:
        """See Fault."""
        answer = self.kept.answers.get(passage.address)
        return await passage.forward() if answer is None else answer


@dataclass
class Rule:
    """Which requests a fault strikes: past `skip` that fit, every `every`-th, `times` in all."""

    which: Which
    fault: Any
    """A Fault, or a StreamFault for watches."""
    skip: int = 0
    times: int | None = 1
    """None: all that follow."""
    every: int = 1
    seen: int = 0
    struck: int = 0

    def takes(self, request: ApiRequest) -> bool:
        """Whether the fault strikes this request; counts it."""
        if not self.which.fits(request):
            return False
        self.seen += 1
        number = self.seen - self.skip - 1
        if number < 0 or number % self.every != 0:
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True
