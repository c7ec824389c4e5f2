"""Watches: a stream of lines that tells every change, until its time is over or the server stops."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from engine.clock import Clock
from engine.simulators.kube.errors import StatusError
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.objects import Change, ObjectStore, Stored
from engine.simulators.kube.selectors import Predicate
from engine.simulators.kube.views import View

# Often enough that a client which went away is noticed soon: its connection is found broken at the next line.
BOOKMARK_PERIOD = timedelta(seconds=10)
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What a client wants to be told; without a revision it is told first what there is."""

    kind: Kind
    namespace: str
    name: str = ""
    selected: Predicate
    revision: int | None
    bookmarks: bool
    initial_bookmark: bool
    lasts: timedelta


class Watches:
    """All running watches of a server."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._closed = False

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._store.ring_all()

    def stream(self, plan: WatchPlan, view: View) -> Iterator[bytes]:
        """Answer the lines of one watch."""
        bell = threading.Event()
        self._store.subscribe(plan.kind.shelf, bell)
        try:
            yield from self._lines(plan, view, bell)
        except StatusError as error:
            yield _line("ERROR", error.status())
        finally:
            self._store.unsubscribe(plan.kind.shelf, bell)

    def _lines(self, plan: WatchPlan, view: View, bell: threading.Event) -> Iterator[bytes]:
        position, initial = self._beginning(plan)
        bell.set()  # what changed between the client's version and now was rung for before anybody listened
        ends_at = self._clock.monotonic() + plan.lasts.total_seconds()
        bookmark_at = self._clock.monotonic() + BOOKMARK_PERIOD.total_seconds()
        started = bool(initial)
        chunk = [view.event("ADDED", stored, first=place == 0) for place, stored in enumerate(initial)]
        if plan.initial_bookmark:
            chunk.append(_bookmark(plan.kind, position, {INITIAL_EVENTS_END: "true"}))
        while True:
            if chunk:
                yield b"".join(chunk)
            now = self._clock.monotonic()
            if self._closed or now >= ends_at:
                break
            until = min(ends_at, bookmark_at) if plan.bookmarks else ends_at
            self._clock.wait(bell, timedelta(seconds=until - now))
            position, changes = self._since(plan, position, bell)
            chunk = []
            for change in changes:
                for name, stored in _told(plan, change):
                    chunk.append(view.event(name, stored, first=not started))
                    started = True
            if plan.bookmarks and self._clock.monotonic() >= bookmark_at:
                bookmark_at = self._clock.monotonic() + BOOKMARK_PERIOD.total_seconds()
                chunk.append(_bookmark(plan.kind, position))
        if plan.bookmarks and not self._closed:
            yield _bookmark(plan.kind, position)

    def _beginning(self, plan: WatchPlan) -> tuple[int, list[Stored]]:
        with self._store.lock:
            if plan.revision is not None:
                self._store.changes_after(plan.kind.shelf, plan.revision)
                return plan.revision, []
            items = self._store.listed(plan.kind.shelf, plan.namespace)
            return self._store.revision, [stored for stored in items if _concerns(plan, stored)]

    def _since(self, plan: WatchPlan, position: int, bell: threading.Event) -> tuple[int, list[Change]]:
        with self._store.lock:
            bell.clear()
            return self._store.revision, self._store.changes_after(plan.kind.shelf, position)


def _told(plan: WatchPlan, change: Change) -> Iterator[tuple[str, Stored]]:
    """Answer what a change looks like through the watch's selectors."""
    was = change.before is not None and _concerns(plan, change.before)
    now = change.now is not None and _concerns(plan, change.now)
    if now and change.now:
        yield ("MODIFIED" if was else "ADDED"), change.now
    elif was and change.before:
        last = change.before.copy()
        last["metadata"]["resourceVersion"] = str(change.revision)
        raw = msgspec.json.encode(last)
        yield "DELETED", Stored(key=change.before.key, revision=change.revision, value=last, raw=raw)


def _concerns(plan: WatchPlan, stored: Stored) -> bool:
    _, namespace, name = stored.key
    if plan.namespace not in {"", namespace} or plan.name not in {"", name}:
        return False
    return plan.selected(stored.value)


def _bookmark(kind: Kind, revision: int, annotations: dict[str, str] | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    return _line("BOOKMARK", {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata})


def _line(name: str, value: Json) -> bytes:
    return msgspec.json.encode({"type": name, "object": value}) + b"\n"
