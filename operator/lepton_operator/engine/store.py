"""What the cluster is known to hold of one kind of object, trimmed to what is read of it.

Two sources write here: the watch, and the answers to our own writes (read your writes), which
arrive first. Neither may take the store back in time.
"""

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from lepton_operator.engine.versions import Key, Known, identity, is_older

__all__ = ["Change", "Key", "Known", "Store"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[T | None, T | None], None]
"""Called with the object before and after; None where it did not exist."""

REMEMBERED_DELETIONS = 4096
"""UIDs of objects known to be gone, so that late events don't bring them back."""
FOR_GOOD = ""
"""Instead of the version of a deletion: no version of that object can be newer."""
AT_ONCE = 1000
"""Items of a whole list to take in before everything else on the event loop has its turn."""
UNREADABLE: Any = object()
"""Instead of an item that `trim` failed on."""


class _Entry(NamedTuple):
    uid: str
    version: str
    item: Any


class Store(Generic[T]):
    """Objects by namespace and name, and by one index.

    `trim` makes an item of an object as the API server sends it; it has to be pure. `index` says
    under which key `by_index` finds an item (None: under none); items must not change in place.
    `carry(before, after)` is `after` with what only an earlier version of the same object shows.
    """

    def __init__(
        self,
        trim: Callable[[dict[str, Any]], T],
        on_change: Change[T],
        index: Callable[[T], Hashable | None] | None = None,
        carry: Callable[[T, T], T] | None = None,
    ) -> None:
        self._trim = trim
        self._on_change = on_change
        self._index = index
        self._carry = carry
        self._entries: dict[Key, _Entry] = {}
        self._groups: dict[Hashable, dict[Key, T]] = {}
        # Versions that our own writes made, while the watch has not shown the last of them yet.
        self._own: dict[Key, tuple[str, ...]] = {}
        # Deleted by us, and not seen to be gone in the watch yet: what it was.
        self._deleted: dict[Key, _Entry] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> T | None:
        """One item, or None."""
        entry = self._entries.get((namespace, name))
        return entry.item if entry else None

    def by_index(self, index_key: Hashable) -> tuple[T, ...]:
        """All items for which the index function returned `index_key`."""
        return tuple(self._groups.get(index_key, {}).values())

    def has_index(self, index_key: Hashable) -> bool:
        """Whether there is any such item."""
        return bool(self._groups.get(index_key))

    def values(self) -> tuple[T, ...]:
        """All items."""
        return tuple(entry.item for entry in self._entries.values())

    def keys(self) -> tuple[Key, ...]:
        """The keys of all items."""
        return tuple(self._entries)

    def known(self) -> dict[Key, Known]:
        """UID and version of everything, to compare with a list."""
        return {key: Known(entry.uid, entry.version) for key, entry in self._entries.items()}

    # Our own writes

    def upsert_response(self, raw: dict[str, Any]) -> None:
        """Take in the answer to our own create, apply or status write, unless the watch was faster.

        `on_change` is not called: the writer knows. Should the answer hold somebody else's change,
        too, that one's event comes later, looks old, and does call it.
        """
        key, known = identity(raw)
        entry = self._entries.get(key)
        if self._is_gone(known) or (entry and is_older(known.version, entry.version)):
            return
        if entry and (entry.uid, entry.version) == known:
            return
        self._put(key, self._entry(key, known, self._trim(raw)))
        self._own[key] = (*self._own.get(key, ()), known.version)

    def deletion_response(
        self, namespace: str, name: str, uid: str, raw: dict[str, Any] | None
    ) -> None:
        """Take in the answer to our own delete: the object that still terminates, or None.

        Gone objects leave the store at once, whatever events of theirs are still under way;
        `on_change` is called when the watch says so, too.
        """
        if raw is not None:
            self.upsert_response(raw)
            return
        key = (namespace, name)
        entry = self._entries.get(key)
        if entry and entry.uid == uid:
            self._remove(key)
            self._deleted[key] = entry
        self._remember_gone(Known(uid, FOR_GOOD))

    # The watch

    def upsert(self, raw: dict[str, Any]) -> None:
        """Take in an object that was added or modified; what is old or known changes nothing."""
        key, known = identity(raw)
        if self._is_gone(known):
            return
        entry = self._entries.get(key)
        own = self._own.get(key, ())
        if entry is None:
            self._change(key, None, self._entry(key, known, self._trim(raw)))
        elif is_older(known.version, entry.version):
            if own and known.version not in own:
                # Our answer jumped over a change that was not ours: somebody has to look at it.
                self._notify(entry.item, entry.item)
        else:
            self._own.pop(key, None)
            if (entry.uid, entry.version) != known:
                self._change(key, entry, self._entry(key, known, self._trim(raw)))

    def delete(self, raw: Mapping[str, Any]) -> None:
        """Take in that an object was deleted, or does not match the selector any more.

        Its successor of the same name stays.
        """
        key, known = identity(raw)
        self._remember_gone(known)
        entry = self._entries.get(key)
        ours = self._deleted.get(key)
        if ours and ours.uid == known.uid:
            del self._deleted[key]
            self._notify(ours.item, entry.item if entry else None)
        if entry and (entry.uid == known.uid or is_older(entry.version, known.version)):
            self._change(key, entry, None)

    async def replace(self, listed: Mapping[Key, tuple[Known, T]], version: str) -> None:
        """Take in a whole list of this version: what it lacks is deleted.

        An item that is newer than the list stays: it is the answer to a write of ours that came
        while the list was read or taken in. The watch may not write meanwhile.
        """
        for key, entry in list(self._entries.items()):
            if key not in listed and not self._is_ahead(key, entry, version):
                self._remember_gone(Known(entry.uid, version))
                self._change(key, entry, None)
        for key, entry in list(self._deleted.items()):
            if key not in listed or listed[key][0].uid != entry.uid:
                del self._deleted[key]
                self._notify(entry.item, self.get(*key))
        items = iter(listed.items())
        while some := tuple(itertools.islice(items, AT_ONCE)):
            for key, (known, item) in some:
                self._take(key, known, item)
            await asyncio.sleep(0)

    def _take(self, key: Key, known: Known, item: T) -> None:
        """Take in an item of a list."""
        before = self._entries.get(key)
        if self._is_gone(known) or (before and is_older(known.version, before.version)):
            return
        own = self._own.pop(key, None)
        if item is UNREADABLE:
            return
        if before is None or (before.uid, before.version) != known:
            self._change(key, before, self._entry(key, known, item))
        elif own:
            self._notify(before.item, before.item)

    def trimmed(self, raws: Iterable[dict[str, Any]]) -> dict[Key, tuple[Known, T]]:
        """One page of a list, as `replace` takes it. An item that can't be read is passed over."""
        page: dict[Key, tuple[Known, T]] = {}
        for raw in raws:
            key, known = identity(raw)
            try:
                page[key] = (known, self._trim(raw))
            except Exception:
                log.exception("%s/%s can't be read, keeping what was known of it", *key)
                page[key] = (known, UNREADABLE)
        return page

    def _is_ahead(self, key: Key, entry: _Entry, version: str) -> bool:
        if entry.version.isdigit() and version.isdigit():
            return is_older(version, entry.version)
        return key in self._own

    def _is_gone(self, known: Known) -> bool:
        gone = self._gone.get(known.uid)
        if gone is None:
            return False
        return gone in (FOR_GOOD, known.version) or is_older(known.version, gone)

    def _entry(self, key: Key, known: Known, item: T) -> _Entry:
        before = self._entries.get(key)
        if self._carry and before and before.uid == known.uid:
            item = self._carry(before.item, item)
        return _Entry(*known, item)

    def _change(self, key: Key, before: _Entry | None, after: _Entry | None) -> None:
        """Put or remove, and tell it if something that is read has changed."""
        if after:
            self._put(key, after)
        else:
            self._remove(key)
        old, new = (before.item if before else None), (after.item if after else None)
        if old != new or (before and after and before.uid != after.uid):
            self._notify(old, new)

    def _notify(self, old: T | None, new: T | None) -> None:
        try:
            self._on_change(old, new)
        except Exception:
            log.exception("on_change failed for %r", new or old)

    def _put(self, key: Key, entry: _Entry) -> None:
        before = self._entries.get(key)
        if self._index:
            group = self._index(entry.item)
            if before and (old := self._index(before.item)) != group:
                self._ungroup(old, key)
            if group is not None:
                self._groups.setdefault(group, {})[key] = entry.item
        self._entries[key] = entry

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key)
        self._own.pop(key, None)
        if self._index:
            self._ungroup(self._index(entry.item), key)

    def _ungroup(self, group: Hashable | None, key: Key) -> None:
        items = self._groups.get(group)
        if items is not None:
            items.pop(key, None)
            if not items:
                del self._groups[group]

    def _remember_gone(self, known: Known) -> None:
        if self._gone.get(known.uid) != FOR_GOOD:
            self._gone[known.uid] = known.version
        self._gone.move_to_end(known.uid)
        while len(self._gone) > REMEMBERED_DELETIONS:
            self._gone.popitem(last=False)
