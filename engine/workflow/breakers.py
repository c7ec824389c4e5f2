"""The board of breakers: which are open, since when and why; who acts asks here first.

Nothing of it is stored: what failed and what was given back within the last hour stands in the history, and is counted
again when a process begins. An open breaker is told in an Event of the classes concerned, in a metric and in the log.
It closes when its reason is over, or when an operator orders it by an annotation.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from engine.clock import Clock
from engine.domain.breakers import WINDOW, Breaker, Limits, orders_to_close, too_many_unhealthy
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.outcome import Code, Problem, problem
from engine.domain.phase import Phase
from engine.domain.states import PROVISIONING_ORDER
from engine.domain.wanted import CLOSE_BREAKER_ANNOTATION, ClassObject
from engine.logs import logger
from engine.metrics import BREAKER_OPEN, BREAKERS_OPENED
from engine.ports.cluster import Cluster, EventKind, MachineEvent
from engine.ports.store import HistoryFilter, Store
from engine.workflow.purchases import Gate, Purchases, Verdict
from engine.workflow.rate import Rate

CLASSES_TOLD_MAX = 20  # one Event for each class in use; more would only repeat it
MESSAGE_LENGTH_MAX = 900  # the API server takes 1,024 bytes
HISTORY_MAX = 10_000  # lines of the last hour that are counted at the start; the newest, which count longest

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One open breaker: what it concerns, and why it opened."""

    breaker: Breaker
    scope: str
    """The class or account; empty when it concerns everything."""
    why: str


class Breakers:
    """What every thread may ask; each answer is quick, and the first one reads the history."""

    def __init__(self, *, clock: Clock, store: Store, cluster: Cluster, limits: Limits) -> None:
        self.limits = limits
        self._clock = clock
        self._store = store
        self._cluster = cluster
        self._lock = threading.RLock()
        self._open: dict[tuple[Breaker, str], Opened] = {}
        self._purchases = Purchases(limits)
        self._deletions = Rate(WINDOW)
        self._obeyed: dict[str, str] | None = None
        self._trusted: set[str] = set()
        self._health_waived = False
        self._recalled = False
        for each in Breaker:
            BREAKER_OPEN.labels(breaker=each).set(0)

    def turn(self) -> None:
        """Obey new orders of operators, and open and close what time and health have changed."""
        if not self._cluster.synced():
            return
        with self._lock:
            self._recall()
            self._obey()
            self._weigh_purchases()
            self._weigh_deletions()
            self._weigh_health()

    def order_barred(self, record: MachineRecord) -> Problem | None:
        """Answer why nothing may be bought for this machine now.

        After a breaker closed by itself one machine of the class buys, and the others wait until one serves: a machine
        that is not barred then holds that place.
        """
        if record.place != PROVISIONING_ORDER or record.device_id:
            return None
        with self._lock:
            self._recall()
            self._weigh_purchases()
            verdict = self._purchases.admit(record.class_name, record.uid, self._clock.monotonic())
            return _barred(record, verdict, self._purchases.wasted(record.class_name))

    def may_delete(self) -> bool:
        """Answer whether one more device may be given back that no Machine's deletion asks for."""
        with self._lock:
            self._recall()
            return self._weigh_deletions()

    def count_deletion(self) -> None:
        """Take note of a device that was given back although no Machine's deletion asked for it."""
        with self._lock:
            self._deletions.add(self._clock.monotonic())
            self._weigh_deletions()

    def health_counts(self) -> bool:
        """Answer whether a machine may be judged by the health of its Node now."""
        with self._lock:
            return (Breaker.UNHEALTHY_NODES, "") not in self._open

    def note(self, record: MachineRecord, entries: Sequence[HistoryEntry]) -> None:
        """Take note of what one run committed."""
        with self._lock:
            if not entries or not self._recalled:
                return  # What is not recalled yet is read from the history, together with these entries.
            now = self._clock.monotonic()
            for entry in entries:
                if self._purchases.note(record.class_name, entry, now):
                    self._deletions.add(now)
            self._weigh_purchases()
            self._weigh_deletions()

    def open(self, breaker: Breaker, why: str, *, scope: str = "", class_name: str = "") -> None:
        """Open a breaker, if it is not open for this scope; tell the class, or every class in use."""
        with self._lock:
            if (breaker, scope) in self._open:
                return
            self._open[breaker, scope] = Opened(breaker=breaker, scope=scope, why=why)
            BREAKER_OPEN.labels(breaker=breaker).set(1)
            BREAKERS_OPENED.labels(breaker=breaker).inc()
            log.warning("breaker opened", breaker=str(breaker), scope=scope, reason=why)
            text = f"breaker {breaker} opened: {why}; {_how_to_close(breaker)}"
            self._tell(EventKind.WARNING, f"{breaker}/{scope}/opened", text, class_name)

    def close(self, breaker: Breaker, how: str, *, scope: str = "", class_name: str = "") -> None:
        """Close a breaker, if it is open for this scope."""
        with self._lock:
            if self._open.pop((breaker, scope), None) is None:
                return
            still = any(each is breaker for each, _ in self._open)
            BREAKER_OPEN.labels(breaker=breaker).set(1 if still else 0)
            log.info("breaker closed", breaker=str(breaker), scope=scope, reason=how)
            self._tell(EventKind.NORMAL, f"{breaker}/{scope}/closed", f"breaker {breaker} closed: {how}", class_name)

    def opened(self) -> list[Opened]:
        """Answer the breakers that are open."""
        with self._lock:
            return list(self._open.values())

    def take_trust(self, scope: str) -> bool:
        """Answer whether an operator ordered the next list of this account to be believed; a yes is used up."""
        with self._lock:
            trusted = scope in self._trusted
            self._trusted.discard(scope)
            return trusted

    def _weigh_purchases(self) -> None:
        for name, gate in self._purchases.changes(self._clock.monotonic()):
            failed = self._purchases.wasted(name)
            if gate is Gate.OPEN:
                why = (
                    f"{failed} devices of MachineClass {name} failed within {WINDOW} without ever serving, so no more "
                    f"are bought for it; look at the class's userData and image, and at the devices' consoles"
                )
                self.open(Breaker.WASTED_PURCHASES, why, scope=name, class_name=name)
            else:
                how = f"MachineClass {name} may buy again, one device at a time until one serves"
                self.close(Breaker.WASTED_PURCHASES, how, scope=name, class_name=name)

    def _weigh_deletions(self) -> bool:
        """Answer whether one more is allowed."""
        given_back = self._deletions.count(self._clock.monotonic())
        if given_back < self.limits.unasked_deletions_per_hour:
            self.close(Breaker.UNASKED_DELETIONS, "few devices were given back unasked within the last hour")
            return True
        why = (
            f"{given_back} devices were given back within {WINDOW} that no Machine's deletion asked for (duplicates "
            f"and orphans), so no more are; look whether another controller buys with the tags of this cluster"
        )
        self.open(Breaker.UNASKED_DELETIONS, why)
        return False

    def _weigh_health(self) -> None:
        """Old ills count like new ones: a restart in the middle of an outage must not forget it."""
        phases = [machine.status.phase for machine in self._cluster.machines() if machine.status]
        unhealthy = sum(phase == Phase.UNKNOWN for phase in phases)
        serving = unhealthy + sum(phase == Phase.RUNNING for phase in phases)
        if not too_many_unhealthy(unhealthy, serving=serving, limits=self.limits):
            self._health_waived = False
            self.close(Breaker.UNHEALTHY_NODES, "most Nodes are Ready again")
        elif not self._health_waived:
            why = (
                f"{unhealthy} of {serving} machines that serve have a Node that is not Ready, so none is judged failed "
                f"by its health; look at the network, the API server and the load balancer of the target cluster"
            )
            self.open(Breaker.UNHEALTHY_NODES, why)

    def _obey(self) -> None:
        """An order that stood there before this process began was meant for another one."""
        wanted = {each.uid: each.annotations.get(CLOSE_BREAKER_ANNOTATION, "") for each in self._classes()}
        known, self._obeyed = self._obeyed, wanted
        if known is None:
            return
        for uid, text in wanted.items():
            if text and text != known.get(uid, ""):
                self._obey_one(text)

    def _obey_one(self, text: str) -> None:
        named, unknown = orders_to_close(text)
        if unknown:
            log.warning("an operator's order names no breaker", unknown=unknown, known=[str(each) for each in Breaker])
        for breaker in named:
            if breaker is Breaker.WASTED_PURCHASES:
                self._purchases.forgive()
            if breaker is Breaker.UNASKED_DELETIONS:
                self._deletions.clear()
            self._health_waived = self._health_waived or breaker is Breaker.UNHEALTHY_NODES
            for each in [each for each in self._open.values() if each.breaker is breaker]:
                class_name = each.scope if breaker is Breaker.WASTED_PURCHASES else ""
                self.close(breaker, "an operator ordered it", scope=each.scope, class_name=class_name)
                if breaker is Breaker.LIST_SHRANK:
                    self._trusted.add(each.scope)

    def _recall(self) -> None:
        if self._recalled:
            return
        now, monotonic = self._clock.now(), self._clock.monotonic()
        wanted = HistoryFilter(since=now - WINDOW, triggers=Purchases.TRIGGERS, limit=HISTORY_MAX)
        parked = {each.uid for each in self._store.parked()}
        for entry in self._store.history(wanted):
            record = None if entry.uid in parked else self._store.get(entry.uid)
            at = monotonic - max(0.0, (now - entry.at).total_seconds())
            if record and self._purchases.note(record.class_name, entry, at):
                self._deletions.add(at)
        self._purchases.doubt()
        self._recalled = True

    def _classes(self) -> list[ClassObject]:
        return list(self._cluster.machine_classes())

    def _tell(self, kind: EventKind, what: str, text: str, class_name: str) -> None:
        used = {machine.class_name for machine in self._cluster.machines()}
        named = [each for each in self._classes() if each.name in ({class_name} if class_name else used)]
        at = self._clock.now().isoformat()
        for each in named[:CLASSES_TOLD_MAX]:
            reason = "BreakerOpened" if kind is EventKind.WARNING else "BreakerClosed"
            event = MachineEvent(
                machine=each, kind=kind, reason=reason, message=text[:MESSAGE_LENGTH_MAX], key=f"{each.uid}/{what}/{at}"
            )
            self._cluster.announce(event)


def _how_to_close(breaker: Breaker) -> str:
    return f"it closes by itself, or when a MachineClass is annotated {CLOSE_BREAKER_ANNOTATION}={breaker}"


def _barred(record: MachineRecord, verdict: Verdict, failed: int) -> Problem | None:
    if verdict.admitted:
        return None
    name = record.class_name
    if verdict.gate is Gate.OPEN:
        text = f"nothing is bought: {failed} devices of MachineClass {name} failed within {WINDOW} without ever serving"
    else:
        text = f"nothing is bought yet: MachineClass {name} tries one device after many that failed"
    help_text = f"look at its userData and image; {_how_to_close(Breaker.WASTED_PURCHASES)}"
    return problem(Code.UNAVAILABLE, f"{text}; {help_text}")
