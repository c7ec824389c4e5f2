"""Kubernetes Events about Machines and their classes, by a thread of their own: news is never worth waiting for."""

import hashlib
import logging
import queue
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.clock import Clock
from engine.cluster import paths
from engine.cluster.api import Writer
from engine.domain.wanted import ClassObject
from engine.errors import ClusterError
from engine.ports.cluster import ConflictError, MachineEvent

COMPONENT = "machine-controller"
QUEUE_LENGTH_MAX = 10_000  # a wave of 2,000 machines; what is beyond it is counted and dropped
MESSAGE_LENGTH_MAX = 1_024  # the API server's own limit
NAME_LENGTH_MAX = 230  # leaves room for the hash within the 253 characters of a name
REASON_LENGTH_MAX = 128  # the API server's own limit
STOP_SPAN = timedelta(seconds=3)  # a pod is killed after 30 s; the last news may use a tenth of that

log = logging.getLogger(__name__)


class Announcer:
    """Writes Events in the order in which they were announced; those that cannot be written are counted and dropped."""

    def __init__(self, writer: Writer, *, namespace: str, clock: Clock) -> None:
        self._writer = writer
        self._namespace = namespace
        self._clock = clock
        self._queue: queue.Queue[MachineEvent | None] = queue.Queue(QUEUE_LENGTH_MAX)
        self._stop_at: float | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many Events could not be written."""
        return self._dropped

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def announce(self, event: MachineEvent) -> None:
        """Have the Event written soon; never blocks, never raises."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._drop()

    def stop(self, span: timedelta = STOP_SPAN) -> None:
        """End the thread; what is queued is written if the span allows."""
        self._stop_at = self._clock.monotonic() + span.total_seconds()
        if self._thread:
            try:
                self._queue.put(None, timeout=span.total_seconds())
            except queue.Full:
                log.warning("events are left unwritten", extra={"count": self._queue.qsize()})
            self._thread.join(span.total_seconds())

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            if self._stop_at is not None and self._clock.monotonic() > self._stop_at:
                self._drop()
                continue
            try:
                self._writer.create("events", paths.events(self._namespace), event_object(event, at=self._clock.now()))
            except ConflictError:
                continue  # It is written already, by an earlier run or by another replica.
            except ClusterError as error:
                self._drop()
                log.debug("event cannot be written", extra={"reason": event.reason, "error": str(error)})

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1


def event_object(event: MachineEvent, *, at: datetime) -> dict[str, Any]:
    """Answer the Event as the core API spells it; the same key gives the same name, so it is written once."""
    machine, stamp = event.machine, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(f"{machine.uid}/{event.key}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{machine.name[:NAME_LENGTH_MAX]}.{digest}", "namespace": machine.namespace},
        "involvedObject": {
            "apiVersion": f"{paths.MACHINES_GROUP}/v1alpha1",
            "kind": "MachineClass" if isinstance(machine, ClassObject) else "Machine",
            "namespace": machine.namespace,
            "name": machine.name,
            "uid": machine.uid,
        },
        "type": event.kind,
        "reason": event.reason[:REASON_LENGTH_MAX],
        "message": event.message[:MESSAGE_LENGTH_MAX],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
