"""Where the objects lie: one revision counter, the state of now, and a bounded memory of what changed.

An object that lies here is never changed in place; whoever wants to change it takes `Stored.copy`. The memory of each
shelf serves watches and consistent pages; what it no longer holds is answered with "expired".
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile
from typing import Protocol

import msgspec

from engine.simulators.kube.errors import expired
from engine.simulators.kube.kinds import Json, Shelf

CHANGES_MAX = 5_000  # per shelf: a watcher that is further behind lists again
Key = tuple[Shelf, str, str]  # shelf, namespace ("" for none), name

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object at one revision, as value and as bytes."""

    key: Key
    revision: int
    value: Json
    raw: bytes

    def copy(self) -> Json:
        """Answer the object as a value of its own."""
        copy: Json = msgspec.json.decode(self.raw)
        return copy

    @property
    def uid(self) -> str:
        """The object's identity."""
        return str(self.value["metadata"].get("uid", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write: what lies there now (None: removed) and what lay there before (None: new)."""

    revision: int
    now: Stored | None
    before: Stored | None


class Journal(Protocol):
    """What the store tells about its writes, so that they outlive the process."""

    def wrote(self, revision: int, stored: Stored) -> None:
        """Keep the object."""
        ...

    def removed(self, revision: int, key: Key) -> None:
        """Forget the object."""
        ...


class NoJournal:
    """The journal of a store that lives in memory only."""

    def wrote(self, revision: int, stored: Stored) -> None:
        """Keep nothing."""

    def removed(self, revision: int, key: Key) -> None:
        """Forget nothing."""


class _Shelf:
    def __init__(self, floor: int) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self.changes: deque[Change] = deque()
        self.floor = floor  # every change after this revision is remembered
        self.bells: set[threading.Event] = set()

    def remember(self, change: Change) -> None:
        self.changes.append(change)
        if len(self.changes) > CHANGES_MAX:
            self.floor = self.changes.popleft().revision
        for bell in self.bells:
            bell.set()


class ObjectStore:
    """The state of the cluster; hold `lock` around everything that must be seen or done together."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.lock = threading.RLock()
        self._journal: Journal = journal or NoJournal()
        self._shelves: dict[Shelf, _Shelf] = {}
        self._revision = 1
        self._floor = 1  # where the memory of a shelf begins that nobody has written to yet
        self._by_uid: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = {}

    @property
    def revision(self) -> int:
        """The number of the last write."""
        return self._revision

    def load(self, revision: int, objects: Iterator[tuple[Key, Json]]) -> None:
        """Take over what a journal kept; nothing is remembered of how it came to be."""
        self._revision = self._floor = max(revision, self._revision)
        for key, value in objects:
            raw = _encoder.encode(value)
            own_revision = int(value["metadata"].get("resourceVersion", 1))
            stored = Stored(key=key, revision=own_revision, value=value, raw=raw)
            self._shelf(key[0]).objects[key[1:]] = stored
            self._index(stored)

    def get(self, key: Key) -> Stored | None:
        """Answer what lies there now."""
        return self._shelf(key[0]).objects.get(key[1:])

    def put(self, key: Key, value: Json) -> Stored:
        """Keep the value under a new revision, which it carries from now on."""
        with self.lock:
            before = self.get(key)
            self._revision += 1
            value["metadata"]["resourceVersion"] = str(self._revision)
            stored = self.preview(key, value)
            self._journal.wrote(self._revision, stored)
            if before:
                self._unindex(before)
            shelf = self._shelf(key[0])
            shelf.objects[key[1:]] = stored
            self._index(stored)
            shelf.remember(Change(revision=self._revision, now=stored, before=before))
            return stored

    def preview(self, key: Key, value: Json) -> Stored:
        """Answer the value as it would be kept, and keep nothing (a dry run)."""
        return Stored(key=key, revision=self._revision, value=value, raw=_encoder.encode(value))

    def remove(self, key: Key) -> Stored | None:
        """Forget the object; answer its last state under the revision of the removal."""
        with self.lock:
            shelf = self._shelf(key[0])
            before = shelf.objects.pop(key[1:], None)
            if before is None:
                return None
            self._revision += 1
            self._journal.removed(self._revision, key)
            self._unindex(before)
            shelf.remember(Change(revision=self._revision, now=None, before=before))
            last = before.copy()
            last["metadata"]["resourceVersion"] = str(self._revision)
            return self.preview(key, last)

    def listed(self, shelf: Shelf, namespace: str = "", *, at: int | None = None) -> list[Stored]:
        """Answer all objects in the order of namespace and name, now or as they were at a revision."""
        with self.lock:
            objects = self._shelf(shelf).objects if at is None else self._rewound(shelf, at)
            found = [stored for key, stored in objects.items() if not namespace or key[0] == namespace]
        return sorted(found, key=lambda stored: stored.key)

    def holds_any(self, shelf: Shelf, namespace: str) -> bool:
        """Answer whether anything of the namespace lies on the shelf."""
        return any(key[0] == namespace for key in self._shelf(shelf).objects)

    def changes_after(self, shelf: Shelf, revision: int) -> list[Change]:
        """Answer what happened since; refuse when that is no longer remembered or has not happened yet."""
        with self.lock:
            place = self._shelf(shelf)
            if revision < place.floor or revision > self._revision:
                raise expired(f"too old resource version: {revision} ({place.floor})")
            recent: list[Change] = []
            for change in reversed(place.changes):
                if change.revision <= revision:
                    break
                recent.append(change)
            recent.reverse()
            return recent

    def forget_changes(self) -> None:
        """Forget how things came to be, as etcd does when it compacts: older watches and pages are refused."""
        with self.lock:
            self._floor = self._revision
            for shelf in self._shelves.values():
                shelf.changes.clear()
                shelf.floor = self._revision

    def subscribe(self, shelf: Shelf, bell: threading.Event) -> None:
        """Ring the bell after every change on the shelf."""
        with self.lock:
            self._shelf(shelf).bells.add(bell)

    def unsubscribe(self, shelf: Shelf, bell: threading.Event) -> None:
        """Ring that bell no more."""
        with self.lock:
            self._shelf(shelf).bells.discard(bell)

    def ring_all(self) -> None:
        """Wake every watcher."""
        with self.lock:
            for shelf in self._shelves.values():
                for bell in shelf.bells:
                    bell.set()

    def with_uid(self, uid: str) -> Stored | None:
        """Answer the living object with that identity."""
        key = self._by_uid.get(uid)
        return self.get(key) if key else None

    def dependents(self, uid: str) -> list[Stored]:
        """Answer the objects that name this identity as an owner, in the order of their keys."""
        found = (self.get(key) for key in sorted(self._dependents.get(uid, ())))
        return [stored for stored in found if stored]

    def shelves(self) -> list[Shelf]:
        """Answer the shelves on which anything ever lay."""
        with self.lock:
            return list(self._shelves)

    def _shelf(self, shelf: Shelf) -> _Shelf:
        place = self._shelves.get(shelf)
        if place is None:
            with self.lock:
                place = self._shelves.setdefault(shelf, _Shelf(self._floor))
        return place

    def _rewound(self, shelf: Shelf, revision: int) -> dict[tuple[str, str], Stored]:
        objects = dict(self._shelf(shelf).objects)
        for change in reversed(self.changes_after(shelf, revision)):
            key = (change.now or change.before).key[1:]  # type: ignore[union-attr]  # a change has at least one side
            if change.before:
                objects[key] = change.before
            else:
                objects.pop(key, None)
        return objects

    def _index(self, stored: Stored) -> None:
        self._by_uid[stored.uid] = stored.key
        for owner in stored.value["metadata"].get("ownerReferences") or ():
            self._dependents.setdefault(owner["uid"], set()).add(stored.key)

    def _unindex(self, stored: Stored) -> None:
        self._by_uid.pop(stored.uid, None)
        for owner in stored.value["metadata"].get("ownerReferences") or ():
            keys = self._dependents.get(owner["uid"], set())
            keys.discard(stored.key)
            if not keys:
                self._dependents.pop(owner["uid"], None)


def after_start(items: list[Stored], start: Key) -> Iterator[Stored]:
    """Answer the items from the first key that is not before the start."""
    return dropwhile(lambda stored: stored.key < start, items)
