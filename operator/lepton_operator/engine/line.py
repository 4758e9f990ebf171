"""Keys that wait in a line, of which each group has its turn."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Line(Generic[K]):
    """First come, first served within a group, while the groups take turns: one key of each. So who
    comes alone does not wait behind thousands of somebody else's.

    With `both_ends`, a group's first and its last key are taken in turn: when thousands of its own
    come at once, one that comes after them need not wait for all.
    """

    def __init__(self, group: Callable[[K], Hashable], *, both_ends: bool = False) -> None:
        self._group = group
        self._both_ends = both_ends
        self._waiting: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()
        """Each group's keys with the time since when; the group whose turn it is comes first."""
        self._newest_next: set[Hashable] = set()
        """Groups of which the last key is taken next."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, key: K) -> bool:
        return key in self._waiting.get(self._group(key), ())

    def add(self, key: K, since: float) -> None:
        """Have the key wait; it may not do so already."""
        self._waiting.setdefault(self._group(key), OrderedDict())[key] = since

    def remove(self, key: K) -> float:
        """Take a key out of turn; returns since when it has waited."""
        group = self._group(key)
        since = self._waiting[group].pop(key)
        if not self._waiting[group]:
            del self._waiting[group]
            self._newest_next.discard(group)
        return since

    def take(self) -> K:
        """The key whose turn it is; there has to be one."""
        group, keys = next(iter(self._waiting.items()))
        key = next(reversed(keys) if group in self._newest_next else iter(keys))
        if self._both_ends:
            self._newest_next ^= {group}
        self._waiting.move_to_end(group)
        self.remove(key)
        return key

    def clear(self) -> None:
        """Drop all keys."""
        self._waiting.clear()
        self._newest_next.clear()

    def oldest(self) -> float | None:
        """Since when the first key of a group has waited that has waited for longest."""
        return min((next(iter(keys.values())) for keys in self._waiting.values()), default=None)
