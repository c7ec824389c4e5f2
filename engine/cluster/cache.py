"""What the watches have shown of one kind, by name and by one index; objects are immutable values.

Three sources feed it: complete lists, watch events, and the answers to our own writes. The first two come in order
from one thread; an answer may be ahead of them: an older event does not replace it, and it brings nothing back to life.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

ECHOES_MAX = 10_000  # answers whose events are awaited; more means that the watch is broken, and then nothing is lost


class Versioned(Protocol):
    """What every cached object has."""

    @property
    def uid(self) -> str:
        """The uid, which is never used twice."""
        ...

    @property
    def name(self) -> str:
        """The name, which may be used again."""
        ...

    @property
    def resource_version(self) -> str:
        """The version of the object, by the API server's count."""
        ...


T = TypeVar("T", bound=Versioned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object changed, or it is gone."""

    name: str
    deleted: bool


def is_older(version: str, than: str) -> bool:
    """Answer whether a resource version is surely older than another; versions that are not numbers tell nothing."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


class Cache(Generic[T]):
    """The objects of one kind in one namespace; safe from threads."""

    def __init__(
        self,
        *,
        index: Callable[[T], str] = lambda found: found.uid,
        notable: Callable[[T, T], bool] = lambda _before, _after: True,
    ) -> None:
        """`index` answers a second key, empty for none; `notable` whether a step between two versions is news."""
        self._index_of = index
        self._notable = notable
        self._lock = threading.Lock()
        self._objects: dict[str, T] = {}
        self._index: dict[str, tuple[str, ...]] = {}
        self._ahead: set[str] = set()
        """Names of objects that an answer has put ahead of the watch."""
        self._echoes: set[str] = set()
        """Versions that our own guarded writes made: their events tell nothing new."""
        self._buried: dict[str, str] = {}
        """Uids and names of objects whose end an answer told us before the watch did."""
        self._risen: set[str] = set()
        """Uids of buried objects that one list has shown: it may be older than the burial, a second one is not."""

    def get(self, name: str) -> T | None:
        """Answer the object of this name."""
        return self._objects.get(name)

    def find(self, key: str) -> T | None:
        """Answer an object with this second key; the first by name if there are several."""
        with self._lock:
            names = self._index.get(key)
            return self._objects.get(names[0]) if names else None

    def all(self) -> Sequence[T]:
        """Answer every object."""
        with self._lock:
            return tuple(self._objects.values())

    def replace(self, found: Mapping[str, T], *, version: str, unreadable: Iterable[str]) -> Sequence[Change]:
        """Take over a complete list, read at `version`; answer what changed since.

        What the list holds but nobody can read stays as it was.
        """
        with self._lock:
            self._echoes.clear()  # Those whose events were missed are told by the list.
            changes = self._dig({after.uid for after in found.values()})
            for name in self._objects.keys() - found.keys() - set(unreadable):
                before = self._objects[name]
                if name in self._ahead and is_older(version, before.resource_version):
                    continue  # It was made after the list was read; the watch will tell.
                self._remove(before)
                changes.append(Change(name=name, deleted=True))
            changes += [change for after in found.values() if (change := self._take_listed(after))]
            return changes

    def apply(self, after: T) -> Change | None:
        """Take over a watch event that shows the object; answer the change if somebody should hear of it."""
        with self._lock:
            if after.uid in self._buried:
                return None
            echo = after.resource_version in self._echoes
            self._echoes.discard(after.resource_version)
            before = self._objects.get(after.name)
            if before and before.uid == after.uid and before.name in self._ahead:
                if is_older(after.resource_version, before.resource_version):
                    # The cache is further, but whoever made this change is somebody the reader has not heard of.
                    return Change(name=after.name, deleted=False)
                self._ahead.discard(after.name)
            self._store(after)
            if echo or (before and before.uid == after.uid and not self._notable(before, after)):
                return None
            return Change(name=after.name, deleted=False)

    def drop(self, name: str, uid: str) -> Change | None:
        """Take over a watch event that says the object is gone."""
        with self._lock:
            if self._buried.pop(uid, None):
                return Change(name=name, deleted=True)
            before = self._objects.get(name)
            if before is None or before.uid != uid:
                return None
            self._remove(before)
            return Change(name=name, deleted=True)

    def answer(self, after: T, *, guarded: bool) -> None:
        """Take over the answer to a read or write of our own.

        `guarded` says that the write named the version it started from, so that nobody's change can hide in the answer.
        """
        with self._lock:
            before = self._objects.get(after.name)
            if before is None or before.uid != after.uid or is_older(after.resource_version, before.resource_version):
                return
            if after.resource_version != before.resource_version:
                self._ahead.add(after.name)
                if guarded:
                    self._expect(after.resource_version)
            self._store(after)

    def bury(self, name: str, uid: str) -> None:
        """Take over the answer that the object is gone; its own late events do not bring it back."""
        with self._lock:
            before = self._objects.get(name)
            if before and before.uid == uid:
                self._remove(before)
                self._buried[uid] = name

    def _take_listed(self, after: T) -> Change | None:
        if after.uid in self._buried:
            return None
        before = self._objects.get(after.name)
        if before is None or before.uid != after.uid:
            self._store(after)
            return Change(name=after.name, deleted=False)
        if after.name in self._ahead:
            if not is_older(after.resource_version, before.resource_version):
                self._ahead.discard(after.name)
                self._store(after)
            # What others did before our answer was never told, and its events may have been missed.
            return Change(name=after.name, deleted=False)
        if before.resource_version == after.resource_version:
            return None
        self._store(after)
        return Change(name=after.name, deleted=False) if self._notable(before, after) else None

    def _dig(self, listed: AbstractSet[str]) -> list[Change]:
        """Answer the buried objects that the list no longer holds: no event will tell of them.

        One that two lists hold is back: a backup restored it, under the uid that it had.
        """
        gone = [uid for uid in self._buried if uid not in listed]
        changes = [Change(name=self._buried.pop(uid), deleted=True) for uid in gone]
        for uid in self._risen & self._buried.keys():
            del self._buried[uid]
        self._risen = self._buried.keys() & listed
        return changes

    def _expect(self, version: str) -> None:
        if len(self._echoes) >= ECHOES_MAX:
            self._echoes.clear()
        self._echoes.add(version)

    def _store(self, after: T) -> None:
        before = self._objects.get(after.name)
        if before is None or self._index_of(before) != self._index_of(after):
            if before:
                self._remove_key(before)
            key = self._index_of(after)
            if key:
                self._index[key] = tuple(sorted({*self._index.get(key, ()), after.name}))
        self._objects[after.name] = after

    def _remove(self, before: T) -> None:
        self._ahead.discard(before.name)
        self._remove_key(before)
        del self._objects[before.name]

    def _remove_key(self, before: T) -> None:
        key = self._index_of(before)
        names = tuple(name for name in self._index.get(key, ()) if name != before.name)
        if names:
            self._index[key] = names
        else:
            self._index.pop(key, None)
