"""When Python looks for garbage in cycles: seldom, and where tens of thousands of objects that are
none would be looked at, not while the caches fill, nor among what they hold then ever again. That
would hold everything up for up to a second."""

import gc
from collections.abc import Awaitable

YOUNG = 50_000
"""New containers until the next look at those: more than a page of a list has, or there would be
one in the middle of each, which takes longer than to parse it. Python's own choice is 700."""
MIDDLE, OLD = 5, 10
"""Looks at the young until one at what several of them left, and of those until one at all."""
NEVER = 1_000_000


async def spare(filling: Awaitable[None]) -> None:
    """Wait until the caches are filled, and pass over what they hold from then on. What kopf leaves
    behind of every object is young, and looked for all the while."""
    gc.set_threshold(YOUNG, MIDDLE, NEVER)
    try:
        await filling
    finally:
        gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.freeze()
