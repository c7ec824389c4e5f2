"""Who of several replicas may act: a Lease named `machine-controller`, held by renewing it.

A leader that could not renew in time stops believing in itself before anybody else can believe in it: `is_leader` is a
comparison with the monotonic clock and needs neither the network nor a thread. Needs the verbs get, create and update.
"""

import logging
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import msgspec

from engine.clock import Clock
from engine.cluster import paths, wire
from engine.cluster.api import ApiServer
from engine.cluster.pace import WriteCount
from engine.errors import ClusterError, ConfigurationError
from engine.ports.cluster import ConflictError, ObjectGoneError

LEASE = "machine-controller"
"""The name that the Go controller uses too, so that the two never act at the same time."""
JITTER = 0.2  # candidates that start together do not ask together
CONNECT_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a silent leader is believed in; the Go controller's defaults."""

    lease_span: timedelta = timedelta(seconds=15)
    """How long others wait after the last renewal that they saw."""
    renew_deadline: timedelta = timedelta(seconds=10)
    """How long the leader believes in itself after its last renewal; shorter than the lease."""
    retry_span: timedelta = timedelta(seconds=2)
    """How often is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The Lease as it was when it last changed, and when by our own clock."""

    version: str
    holder: str
    span: timedelta
    at: float


class LeaderElector:
    """Competes for the Lease from a thread of its own; the identity tells replicas apart."""

    def __init__(
        self,
        api: ApiServer,
        *,
        namespace: str,
        identity: str,
        clock: Clock,
        settings: LeaseSettings | None = None,
        count: WriteCount | None = None,
    ) -> None:
        self._api = api
        self._path = paths.leases(namespace)
        self._identity = identity
        self._clock = clock
        self._settings = settings or LeaseSettings()
        if not timedelta(0) < self._settings.retry_span < self._settings.renew_deadline < self._settings.lease_span:
            raise ConfigurationError("leader election: retry period < renew deadline < lease duration does not hold")
        self._count = count or WriteCount()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_started: Callable[[], None] = lambda: None
        self._on_lost: Callable[[], None] = lambda: None
        self._seen: Seen | None = None
        self._leading = False
        self._believe_until = 0.0
        self._tries = 0
        self._transitions = 0

    @property
    def transitions(self) -> int:
        """How often the Lease changed hands before it came to us; grows from leader to leader."""
        return self._transitions

    def is_leader(self) -> bool:
        """Answer whether nobody else can be the leader now."""
        return self._leading and self._clock.monotonic() < self._believe_until

    def start(self, *, on_started: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Begin to compete; the callbacks are called from the elector's thread, `on_lost` once for each `on_started`.

        After a loss it competes on; who would rather start afresh ends the process in `on_lost`.
        """
        self._on_started, self._on_lost = on_started, on_lost
        self._thread = threading.Thread(target=self.run, name="leader-election", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop competing; a Lease that is held is given back, so that the next leader need not wait."""
        self._stopping.set()
        if self._thread:
            # A request in flight ends within its own time-outs.
            self._thread.join(CONNECT_SECONDS + self._settings.renew_deadline.total_seconds())

    def run(self) -> None:
        """Compete until asked to stop."""
        while not self._stopping.is_set():
            try:
                self.try_once()
            except Exception:  # a dead elector would leave a program that never acts and never ends
                log.exception("leader election met an error that nobody expected")
            self._clock.wait(self._stopping, self._pause())
        if self.is_leader():
            self._give_back()
        self._leading = False

    def try_once(self) -> None:
        """Take or renew the Lease if that is possible now, and tell whose it is if that changed."""
        # Counted from before the request: the API server may have written it just then.
        asked_at = self._clock.monotonic()
        try:
            won = self._take_or_renew()
        except ClusterError as error:
            log.warning("lease cannot be taken or renewed", extra={"error": str(error)})
            if self._leading and self._clock.monotonic() >= self._believe_until:
                self._lose("not renewed in time")
            return
        if won:
            self._believe_until = asked_at + self._settings.renew_deadline.total_seconds()
            self._win()
        elif self._leading:
            self._lose("somebody else holds it")

    def _take_or_renew(self) -> bool:
        try:
            lease = self._read()
        except ObjectGoneError:
            return self._create()
        spec = lease.spec or wire.LeaseSpec()
        seen = self._look(lease.metadata.resource_version, spec)
        ours = seen.holder == self._identity
        if seen.holder and not ours and self._clock.monotonic() < seen.at + seen.span.total_seconds():
            return False
        transitions = (spec.lease_transitions or 0) + (0 if ours else 1)
        since = spec.acquire_time if ours and spec.acquire_time else self._now()
        return self._update(lease, self._spec(holder=self._identity, since=since, transitions=transitions))

    def _look(self, version: str, spec: wire.LeaseSpec) -> Seen:
        """Remember when the Lease was last seen to change; clocks of other machines are not believed."""
        if self._seen is None or self._seen.version != version:
            span = timedelta(seconds=spec.lease_duration_seconds or self._settings.lease_span.total_seconds())
            now = self._clock.monotonic()
            self._seen = Seen(version=version, holder=spec.holder_identity or "", span=span, at=now)
        return self._seen

    def _read(self) -> wire.Lease:
        try:
            return wire.read_lease(self._api.call("GET", f"{self._path}/{LEASE}", timeout=self._timeout()))
        except msgspec.DecodeError as error:
            raise ClusterError(f"lease {LEASE} cannot be read: {error}; delete it if nobody uses it") from error

    def _create(self) -> bool:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE},
            "spec": self._spec(holder=self._identity, since=self._now(), transitions=0),
        }
        return self._write("POST", "create", self._path, lease)

    def _update(self, lease: wire.Lease, spec: dict[str, Any]) -> bool:
        meta = lease.metadata
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": LEASE,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "labels": meta.labels or {},
                "annotations": meta.annotations or {},
            },
            "spec": spec,
        }
        return self._write("PUT", "update", f"{self._path}/{LEASE}", body)

    def _write(self, method: str, verb: str, path: str, body: dict[str, Any]) -> bool:
        self._count.add(verb, "leases")
        try:
            self._api.call(method, path, body=body, timeout=self._timeout())
        except (ConflictError, ObjectGoneError):
            return False  # Somebody was faster; the next look tells who.
        self._transitions = body["spec"]["leaseTransitions"]
        return True

    def _give_back(self) -> None:
        try:
            lease = self._read()
            held = lease.spec or wire.LeaseSpec()
            if held.holder_identity == self._identity:
                transitions = held.lease_transitions or 0
                spec = self._spec(holder="", since=held.acquire_time or self._now(), transitions=transitions)
                self._update(lease, {**spec, "leaseDurationSeconds": 1})
        except ClusterError as error:
            log.warning("lease is not given back; the next leader has to wait", extra={"error": str(error)})

    def _spec(self, *, holder: str, since: str, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": round(self._settings.lease_span.total_seconds()),
            "acquireTime": since,
            "renewTime": self._now(),
            "leaseTransitions": transitions,
        }

    def _win(self) -> None:
        if not self._leading:
            self._leading = True
            log.info("leader now", extra={"identity": self._identity, "transitions": self._transitions})
            self._on_started()

    def _lose(self, reason: str) -> None:
        self._leading = False
        log.error("leader no longer", extra={"identity": self._identity, "reason": reason})
        self._on_lost()

    def _now(self) -> str:
        return self._clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _timeout(self) -> tuple[float, float]:
        return (CONNECT_SECONDS, self._settings.renew_deadline.total_seconds() / 2)

    def _pause(self) -> timedelta:
        self._tries += 1
        share = zlib.crc32(f"{self._identity}/{self._tries}".encode()) / 2**32
        return self._settings.retry_span * (1 + JITTER * share)
