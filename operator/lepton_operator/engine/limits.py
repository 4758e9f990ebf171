"""How fast something may go."""

import asyncio
import time
from collections.abc import Awaitable, Callable

Clock = Callable[[], float]
"""Seconds that never go backwards."""
Sleep = Callable[[float], Awaitable[None]]


class TokenBucket:
    """At most `burst` at once and `rate` per second in the long run, first come first served.

    A taker reserves its token on arrival, if need be one that does not exist yet, and sleeps until
    it does (as golang.org/x/time/rate reserves): order and fairness need no queue.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"rate {rate} must be above 0 and burst {burst} at least 1")
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = burst
        self._counted_at = clock()

    def try_take(self) -> bool:
        """Take a token if there is one now."""
        self._count()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def take(self) -> None:
        """Take a token, waiting for it if need be. Cancelling gives the token back."""
        self._count()
        self._tokens -= 1
        if self._tokens >= 0:
            return
        try:
            await self._sleep(-self._tokens / self.rate)
        except asyncio.CancelledError:
            self._tokens += 1
            raise

    def _count(self) -> None:
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._counted_at) * self.rate)
        self._counted_at = now
