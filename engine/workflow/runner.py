"""One run of one machine: claim, load, decide, write the intent, act, write the result, mirror, release."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from engine.clock import Clock
from engine.domain.admission import admission, ours
from engine.domain.ids import MachineUid
from engine.domain.intents import order_id
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.outcome import Code, problem
from engine.domain.states import State
from engine.errors import ClusterError, EngineError, LostClaimError, NewerRecordError, StoreUnavailableError
from engine.logs import bound, logger
from engine.ports.cluster import (
    Cluster,
    ConflictError,
    EventKind,
    MachineEvent,
    ObjectGoneError,
    ObjectRefusedError,
)
from engine.ports.provider import AccessDeniedError
from engine.ports.store import Claim, Store
from engine.workflow.attempts import failed
from engine.workflow.breakers import Breakers
from engine.workflow.inventory import Inventory
from engine.workflow.journal import Journal, entry_of, moved
from engine.workflow.mirror import Mirror, same
from engine.workflow.observation import Marks, Observer
from engine.workflow.policy import Policy
from engine.workflow.program import absorb, decide
from engine.workflow.step import (
    Accepted,
    Advance,
    Awaited,
    Context,
    Decision,
    DeleteNode,
    DropFinalizer,
    Effected,
    ExamineDevice,
    PatchMachine,
    Remember,
    Wait,
)

MOVES_MAX = 32  # a whole life has about a dozen; more in one run is a fault that must not spin
_CONFLICT_RETRY = timedelta(milliseconds=200)  # the contract's ConflictRetry: the watch will have caught up
_CLUSTER_RETRY = timedelta(seconds=2)
_FAULT_RETRY = timedelta(minutes=1)  # a bug in one machine's handling must neither spin nor hide

_RELEASED, _DENIED = _MARKS = ("released", "denied")

log = logger(__name__)


class Ran(Enum):
    """How a run ended."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    HELD_ELSEWHERE = "held elsewhere"
    STORE_AWAY = "store away"
    CLUSTER_AWAY = "cluster away"
    PARKED = "parked"
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended, and when the machine wants to run again; None waits for an event."""

    ran: Ran
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Moves machines; safe to use from many threads, one machine at a time each."""

    clock: Clock
    store: Store
    cluster: Cluster
    inventory: Inventory
    observer: Observer
    mirror: Mirror
    marks: Marks
    breakers: Breakers
    policy: Policy
    worker: str

    def run(self, uid: MachineUid) -> Report:
        """Take the machine as far as it goes now. Never raises an error of the outside world."""
        with bound(machine=uid):
            try:
                return self._run(uid)
            except LostClaimError:
                log.info("claim lost; the work is dropped")
                return Report(ran=Ran.HELD_ELSEWHERE)
            except NewerRecordError as newer:
                self._park(uid, str(newer))
                return Report(ran=Ran.PARKED)
            except StoreUnavailableError as away:
                log.warning("the database is away; nothing was done", reason=str(away))
                return Report(ran=Ran.STORE_AWAY)
            except ClusterError as away:
                log.warning("the API server is away; nothing was done", reason=str(away))
                return Report(ran=Ran.CLUSTER_AWAY, due_at=self.clock.now() + _CLUSTER_RETRY)
            except Exception as fault:  # the one border where a fault of ours is kept to one machine
                log.exception("a fault of the engine; this machine is looked at again later")
                self._tell_fault(uid, type(fault).__name__)
                return Report(ran=Ran.FAULT, due_at=self._put_off(uid))

    def _run(self, uid: MachineUid) -> Report:
        record = self.store.get(uid)
        if record is None:
            return self._admit(uid)
        if record.finished:
            return self._readmit(record)
        context = self.observer.observe(record)
        first = decide(context)
        if isinstance(first, Wait) and self._mirrored(record):
            self._expect(context, first)
            if first.until == record.due_at:
                return Report(ran=Ran.NOTHING_TO_DO, due_at=first.until)
        return self._begin(uid, [], context)

    def _admit(self, uid: MachineUid) -> Report:
        machine = self.cluster.machine(uid)
        if machine is None or not ours(machine):
            return Report(ran=Ran.NOTHING_TO_DO)
        record, entry = admission(machine, self.clock.now())
        admitted = self.store.admit(record=record, entry=entry)
        if admitted:
            self.marks.set(("admitted", uid))
        return self._begin(uid, [entry] if admitted else [])

    def _readmit(self, record: MachineRecord) -> Report:
        """A life that is over goes on when its object is there for good."""
        decision = decide(self.observer.observe(record))
        if not isinstance(decision, Advance):
            return Report(ran=Ran.NOTHING_TO_DO)
        after = moved(record, decision, self.clock.now())
        entry = entry_of(record, decision, after)
        readmitted = self.store.readmit(record=after, entry=entry)
        return self._begin(record.uid, [entry] if readmitted else [])

    def _begin(self, uid: MachineUid, entries: list[HistoryEntry], seen: Context | None = None) -> Report:
        claim = self.store.claim(uid=uid, worker=self.worker, now=self.clock.now(), span=self.policy.claim_span)
        if claim is None:
            return Report(ran=Ran.HELD_ELSEWHERE)
        return self._work(claim, entries, seen if seen and seen.record == claim.record else None)

    def _work(self, claim: Claim, entries: list[HistoryEntry], seen: Context | None) -> Report:
        journal = Journal(
            store=self.store,
            clock=self.clock,
            span=self.policy.claim_span,
            cooldown=self.policy.reservation_cooldown,
            claim=claim,
            entries=entries,
        )
        due_at: datetime | None = self.clock.now() + _FAULT_RETRY
        machine = self.cluster.machine(claim.record.uid)
        try:
            due_at = self._move(journal, seen)
        finally:
            self.mirror.announce(machine, journal.entries)
            self.breakers.note(journal.record, journal.entries)
            self._release(journal, due_at)
        return Report(ran=Ran.DONE, due_at=due_at)

    def _release(self, journal: Journal, due_at: datetime | None) -> None:
        record = journal.record
        if record.device_id:
            self.inventory.own(record.device_id, record.uid)
        if record.finished:
            devices = [release.device_id for release in record.releases]
            self.inventory.disown(record.uid, devices)
            self.marks.forget(("absent", record.uid), ("admitted", record.uid))
            self.marks.forget(*((what, each) for what in _MARKS for each in devices))
            self.marks.forget(*(order_id(record.uid, number) for number in range(1, record.orders + 1)))
        journal.finish(due_at)

    def _move(self, journal: Journal, seen: Context | None) -> datetime | None:
        """Move until there is something to wait for; `seen` is what was observed of this very record a moment ago."""
        pending: Decision | None = None
        for _ in range(MOVES_MAX):
            if journal.record.finished:
                return None
            context = seen or self.observer.observe(journal.record)
            decision = pending or decide(context)
            seen = pending = None
            match decision:
                case Advance():
                    journal.advance(decision)
                    self._note(decision)
                case Remember():
                    journal.remember(decision)
                case Wait():
                    return self._settle(journal, context, decision)
                case PatchMachine() | DeleteNode() | DropFinalizer():
                    later = self._on_cluster(journal, context, decision)
                    if later:
                        return later
                case _:
                    self._show_before_acting(journal.record)
                    done = journal.perform(decision, context.binding)
                    seen = self.observer.observe(journal.record)
                    pending = absorb(seen, done)
                    self._mark(done)
        log.error("a machine moves in circles; it is looked at again later", place=str(journal.record.place))
        return self.clock.now() + _FAULT_RETRY

    def _settle(self, journal: Journal, context: Context, wait: Wait) -> datetime | None:
        self._expect(context, wait)
        try:
            self.mirror.reflect(journal.record)
        except ObjectRefusedError as refused:
            log.warning("the status is refused; nobody can read it there", reason=str(refused))
        except ClusterError as refused:
            log.warning("status not written; trying again", reason=str(refused))
            return self.clock.now() + _CLUSTER_RETRY
        return wait.until

    def _show_before_acting(self, record: MachineRecord) -> None:
        """A deletion is visible before its first cloud call: MCM orders the replacement when it sees `Terminating`."""
        if record.state is not State.DELETING:
            return
        try:
            self.mirror.reflect(record)
        except ClusterError as refused:
            log.warning("status not written; the return goes on", reason=str(refused))

    def _on_cluster(
        self, journal: Journal, context: Context, effect: PatchMachine | DeleteNode | DropFinalizer
    ) -> datetime | None:
        try:
            self._apply(context, effect)
        except ConflictError:
            return self.clock.now() + _CONFLICT_RETRY
        except ObjectGoneError:
            return self.clock.now() + _CLUSTER_RETRY
        except ObjectRefusedError as refused:
            return self._refused(journal, context, str(refused))
        except ClusterError as refused:
            log.warning("Kubernetes did not take a change; trying again", reason=str(refused))
            return self.clock.now() + _CLUSTER_RETRY
        if not isinstance(effect, PatchMachine):
            journal.advance(effect.then)
        return None

    def _refused(self, journal: Journal, context: Context, why: str) -> datetime | None:
        """What is wrong with this one object stands in its record, where people look; it is tried ever more slowly."""
        text = f"Kubernetes refuses a change of Machine {context.record.name}: {why}"
        fault = problem(Code.INVALID_ARGUMENT, f"{text}; correct the object, or delete it")
        attempt = failed(context, fault)
        if isinstance(attempt, Advance):
            journal.advance(attempt)
        else:
            journal.remember(attempt)
        return self._settle(journal, context, Wait(until=journal.record.retry_at))

    def _apply(self, context: Context, effect: PatchMachine | DeleteNode | DropFinalizer) -> None:
        match effect:
            case PatchMachine(patch=patch):
                if context.machine:
                    self.cluster.patch_machine(context.machine, patch)
            case DeleteNode(node=node):
                self.cluster.delete_node(node)
            case DropFinalizer(machine=machine):
                self.cluster.drop_finalizer(machine)

    def _mirrored(self, record: MachineRecord) -> bool:
        from engine.domain.phase import status_of

        machine = self.cluster.machine(record.uid)
        status = status_of(record, target=self.cluster.has_target)
        return machine is None or status is None or same(machine.status, status)

    def _expect(self, context: Context, wait: Wait) -> None:
        cloud = context.binding.returning
        if cloud is None:
            return
        if wait.awaited is Awaited.NOTHING:
            self.inventory.settle(cloud.account, context.record.uid)
            return
        next_list = wait.awaited is Awaited.NEXT_LIST
        self.inventory.expect(cloud.account, context.record.uid, next_list=next_list, at=self.clock.monotonic())

    def _mark(self, done: Effected) -> None:
        if isinstance(done.outcome, Accepted) and done.intent and done.intent.device_id:
            self.marks.set((_RELEASED, done.intent.device_id))
        if isinstance(done.effect, ExamineDevice):
            denied = (_DENIED, done.effect.device_id)
            self.marks.first(denied) if isinstance(done.outcome, AccessDeniedError) else self.marks.forget(denied)

    def _put_off(self, uid: MachineUid) -> datetime:
        """Answer when to look again. A fault before the claim leaves the machine due, and it would spin."""
        later = self.clock.now() + _FAULT_RETRY
        with suppress(EngineError):  # A database that is away, or that is the fault, is met again by the next run.
            claim = self.store.claim(uid=uid, worker=self.worker, now=self.clock.now(), span=self.policy.claim_span)
            if claim:
                self.store.release(claim=claim, due_at=later)
        return later

    def _park(self, uid: MachineUid, why: str) -> None:
        """Told once: the newer program may be away for days."""
        key = ("parked", uid)
        if self.marks.known(key) is not None:
            return
        self.marks.set(key)
        log.warning("a machine is parked", reason=why)
        self._warn(uid, "Parked", why)

    def _tell_fault(self, uid: MachineUid, kind: str) -> None:
        """The log tells more, and may hold what an Event must not."""
        text = f"a fault of the engine ({kind}) keeps this Machine; it is tried every minute, and the log says more"
        self._warn(uid, "EngineFault", text)

    def _warn(self, uid: MachineUid, reason: str, text: str) -> None:
        machine = self.cluster.machine(uid)
        if machine is not None:
            key = f"{uid}/{reason}/{text}"
            event = MachineEvent(machine=machine, kind=EventKind.WARNING, reason=reason, message=text, key=key)
            self.cluster.announce(event)

    def _note(self, step: Advance) -> None:
        told = log.warning if step.problem else log.info
        told("machine moved", trigger=step.trigger.value, note=step.note, device=step.device_id)
