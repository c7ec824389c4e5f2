"""One run of one machine, where the outside world gets in the way."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog

from engine.domain.ids import AccountKey, MachineUid
from engine.domain.intents import IntentResult
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.states import ACTIVE_HEALTHY, FAILED_HALT, PENDING_WAIT_CAPACITY, PROVISIONING_ORDER, State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, MachineObject, SecretObject, SecretReference
from engine.errors import LostClaimError, NewerRecordError, StoreUnavailableError
from engine.ports.cluster import (
    ClusterDeniedError,
    ClusterUnavailableError,
    ConflictError,
    Kind,
    ObjectGoneError,
    ObjectRefusedError,
)
from engine.ports.store import Claim, Commit, HistoryFilter
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import Engine, World, WorldSettings
from engine.workflow import runner as subject
from engine.workflow.binding import Binding
from engine.workflow.journal import Journal
from engine.workflow.runner import Ran, Report, Runner
from engine.workflow.step import Advance, ReleaseDevice
from tests.contract.store_records import entry
from tests.model.model_store import ModelStore
from tests.simulation.lives import RESERVATION, RESERVED
from tests.unit.workflow.builders import NAME, ONE, UID, record


@pytest.fixture(autouse=True)
def silent() -> Any:
    """The log is not read."""
    kept = structlog.get_config()
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**kept)


def world(store: ModelStore | None = None, settings: WorldSettings | None = None) -> World:
    """A world with one Machine that nobody has seen yet."""
    made = World(Seed("runner"), store or ModelStore(), settings)
    made.create(NAME)
    return made


def serving(store: ModelStore | None = None) -> World:
    """A world whose Machine serves."""
    made = world(store)
    made.settle()
    return made


def uid_of(made: World) -> MachineUid:
    """The uid of the one Machine."""
    return made.store.find(MachineFilter())[0].uid


def now_of(made: World) -> MachineRecord:
    """The record of the one Machine."""
    return made.store.find(MachineFilter())[0]


def run(made: World) -> Report:
    """One run, by a plain runner."""
    return Runner.run(runner_of(made.engine), uid_of(made))


def runner_of(engine: Engine) -> Runner:
    """The runner inside."""
    return engine.dispatch._runner


def test_what_is_unknown_or_finished_needs_no_run() -> None:
    """Nor does a machine that waits for nothing new."""
    made = serving()
    assert Runner.run(runner_of(made.engine), MachineUid("nobody")).ran is Ran.NOTHING_TO_DO
    assert run(made).ran is Ran.NOTHING_TO_DO
    made.delete(NAME)
    made.settle()
    assert run(made).ran is Ran.NOTHING_TO_DO


def test_a_machine_that_somebody_holds_is_left_alone() -> None:
    """Until his claim is over."""
    made = serving()
    made.store.claim(uid=uid_of(made), worker="other", now=made.clock.now(), span=timedelta(seconds=30))
    made.delete(NAME)
    assert run(made).ran is Ran.HELD_ELSEWHERE
    made.settle()


def test_a_machine_that_is_admitted_elsewhere_is_left_alone() -> None:
    """Two replicas may see a new Machine at once; one of them works on it."""

    class Busy(ModelStore):
        """Somebody else claims whatever is admitted."""

        def claim(self, **named: Any) -> Claim | None:
            """Take it for somebody else the first time."""
            if self._lives[named["uid"]].fence == 0:
                super().claim(**{**named, "worker": "other"})
            return super().claim(**named)

    made = world(Busy())
    found = made.cluster.user.machine(NAME)
    assert found
    assert Runner.run(runner_of(made.engine), found.uid).ran is Ran.HELD_ELSEWHERE
    made.settle()


def test_a_claim_that_is_lost_ends_the_run() -> None:
    """Nothing more is written, and nothing is bought."""

    class Thief(ModelStore):
        """Somebody takes the machine just before a commit."""

        stealing = True

        def commit(self, *, claim: Claim, commit: Commit, **named: Any) -> Claim:
            """Lose the claim once."""
            if self.stealing and commit.opened:
                self.stealing = False
                raise LostClaimError(claim.record.uid)
            return super().commit(claim=claim, commit=commit, **named)

    made = world(Thief())
    made.settle()
    assert len(made.cloud.history()) == 1


@pytest.mark.parametrize("refusal", [ConflictError("c"), ObjectGoneError("g"), ClusterUnavailableError("u")])
def test_a_refused_write_is_tried_again_soon(refusal: ConflictError) -> None:
    """Each kind in its own time; nothing is lost."""
    made = world()
    made.cluster.refusing = refusal
    made.run_for(timedelta(seconds=5))
    assert now_of(made).state is State.PENDING
    made.cluster.refusing = None
    made.settle()


def test_an_unwritten_status_does_not_stop_a_return() -> None:
    """A deletion goes on while the API server refuses to show it, and is shown later."""
    made = serving()
    made.delete(NAME)
    made.cluster.refusing = ClusterDeniedError("no")
    made.run_until(lambda: not made.cloud.billing())
    made.cluster.refusing = None
    made.settle()


def test_an_api_server_that_is_away_is_no_fault_of_a_machine() -> None:
    """A read that fails ends the run, and the next comes soon."""

    class Away(SimulatedCluster):
        """A cluster that cannot answer for Secrets."""

        def secret(self, reference: SecretReference) -> SecretObject | None:
            """Refuse."""
            raise ClusterUnavailableError(reference.name)

    made = serving()
    made.engine.bindings._cluster = Away(clock=made.clock, seed=Seed(1))
    away = made.engine.bindings._cluster
    away.user.make_class("workers", secret="key", spec={})
    away.start(lambda _change: None)
    report = run(made)
    assert report.ran is Ran.CLUSTER_AWAY
    assert report.due_at == made.clock.now() + timedelta(seconds=2)


def test_a_fault_of_ours_is_kept_to_one_machine(monkeypatch: pytest.MonkeyPatch, silent: list[Any]) -> None:
    """It is logged, and the machine is looked at later."""
    made = serving()

    def broken(_context: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(subject, "decide", broken)
    report = run(made)
    assert report.ran is Ran.FAULT
    assert report.due_at == now_of(made).due_at == made.clock.now() + timedelta(minutes=1)
    assert any("fault of the engine" in line["event"] for line in silent)
    assert ["KeyError" in event.message for event in made.cluster.events.values() if event.reason == "EngineFault"] == [
        True
    ]


@pytest.mark.parametrize("worse", ["held", "away"])
def test_a_fault_is_survived_whatever_else_is_wrong(worse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds the machine, or the database is away, or the object is gone: the run ends all the same."""
    made = serving()
    monkeypatch.setattr(subject, "decide", lambda _context: called(KeyError("a bug")))
    uid = uid_of(made)
    if worse == "held":
        made.store.claim(uid=uid, worker="other", now=made.clock.now(), span=timedelta(hours=1))
    else:
        monkeypatch.setattr(made.store, "claim", lambda **_named: called(StoreUnavailableError("away")))
    made.cluster.user.strike_out(MachineObject, NAME)
    before = len(made.cluster.events)
    assert Runner.run(replaced(made), uid).ran is Ran.FAULT
    assert len(made.cluster.events) == before


def called(error: Exception) -> None:
    """Raise it."""
    raise error


def replaced(made: World) -> Runner:
    """The runner, on the store as it is and not as it was wrapped."""
    return replace(runner_of(made.engine), store=made.store)


def test_a_record_of_a_newer_program_is_told_once_and_left_alone(silent: list[Any]) -> None:
    """By an Event and in the log; with no object there is nobody to tell it to."""

    class Newer(ModelStore):
        """A store whose records nobody here understands."""

        def get(self, uid: MachineUid) -> MachineRecord | None:
            """Refuse."""
            raise NewerRecordError(f"machine {uid}: only a newer program knows")

    made = serving()
    newer = replace(runner_of(made.engine), store=Newer())
    for _ in range(2):
        assert Runner.run(newer, uid_of(made)).ran is Ran.PARKED
    assert Runner.run(newer, MachineUid("nobody")).ran is Ran.PARKED
    assert [event.reason for event in made.cluster.events.values()].count("Parked") == 1
    assert len([line for line in silent if "parked" in line["event"]]) == 2


def test_an_object_that_is_back_goes_on_under_one_controller_only() -> None:
    """Of two that see it one writes the next line of its history; who comes second works on it, or leaves it."""
    made = serving()
    backup = made.cluster.user.machine(NAME)
    made.delete(NAME)
    made.settle()
    assert backup
    made.cluster.user._shelf.put(backup)
    over, runner = now_of(made), runner_of(made.engine)
    made.run_for(made.settings.policy.object_restored_after - timedelta(seconds=30))
    made.clock.advance(timedelta(seconds=60))
    assert Runner.run(runner, over.uid).ran is Ran.DONE
    assert now_of(made).place == FAILED_HALT
    assert runner._readmit(over).ran is Ran.DONE, "the same decision again adds nothing"
    assert now_of(made).version == over.version + 1


@pytest.mark.parametrize("status_too", [False, True])
def test_a_change_that_is_refused_stands_in_the_record(*, status_too: bool) -> None:
    """With the reason, once in the history, and is tried ever more slowly; the status says so if it can be written."""
    made = world()
    refusal = ObjectRefusedError("the request is too large")
    made.cluster.odd = {NAME: refusal}
    made.run_for(timedelta(minutes=2))
    known = now_of(made)
    assert known.problem
    assert "too large" in known.problem.message
    assert 2 <= known.attempts <= 12
    assert [e.trigger for e in made.store.history(HistoryFilter(uid=known.uid))] == ["admitted", "attempt-failed"]
    if status_too:
        made.cluster.odd.clear()
    made.run_for(timedelta(minutes=2))
    assert (now_of(made).place == ACTIVE_HEALTHY) is status_too


def test_an_object_that_cannot_be_read_is_not_missing() -> None:
    """Neither one of this name, nor one that hides its name; another one's trouble is none of this machine's."""
    made = serving()
    made.cluster.user.strike_out(MachineObject, NAME)
    observer = runner_of(made.engine).observer
    for odd, absent in (((Kind.MACHINE, NAME), False), ((Kind.MACHINE, ""), False), ((Kind.CLASS, NAME), True)):
        made.cluster.blurred = [odd]
        observer.observe(now_of(made))
        made.clock.advance(timedelta(seconds=1))
        assert bool(observer.observe(now_of(made)).absent_for) is absent


def test_a_machine_that_moves_in_circles_is_stopped(monkeypatch: pytest.MonkeyPatch, silent: list[Any]) -> None:
    """A run has a limit, and says when it is reached."""
    made = serving()
    monkeypatch.setattr(subject, "decide", lambda _: Advance(trigger=Trigger.NODE_REPORTED, note=""))
    report = run(made)
    assert report.due_at == made.clock.now() + timedelta(minutes=1)
    assert any("circles" in line["event"] for line in silent)
    assert now_of(made).version <= subject.MOVES_MAX + 5


def test_a_status_that_could_not_be_written_is_written_later() -> None:
    """The record is true already; the mirror follows."""
    made = world()
    made.run_until(made.cloud.history)
    made.cluster.refusing = ClusterDeniedError("no")
    made.run_until(lambda: now_of(made).place == ACTIVE_HEALTHY)
    assert not made.invariants.mirrored()
    made.cluster.refusing = None
    made.settle()


def test_a_second_try_of_a_return_settles_the_first() -> None:
    """A return whose answer a killed process never saw is called repeated when it is asked for again."""
    number = next(index for index, line in enumerate(deleted({}).trace, start=1) if " cloud.release " in line)
    made = deleted({number: Moment.BEFORE})
    results = [each.result for each in made.store.intents(uid_of(made))]
    assert results == [IntentResult.DONE, IntentResult.REPEATED, IntentResult.DONE]


def deleted(mishaps: dict[int, Moment]) -> World:
    """A world after a whole life."""
    made = World(Seed("runner"), ModelStore(), mishaps=mishaps)
    made.create(NAME)
    made.settle()
    made.delete(NAME)
    made.settle()
    return made


def journal(store: ModelStore, of: MachineRecord) -> Journal:
    """A journal of a claimed machine."""
    made = World(Seed(1), store)
    store.admit(record=of, entry=entry(of))
    claim = store.claim(uid=of.uid, worker="w", now=made.clock.now(), span=timedelta(hours=1))
    assert claim
    return Journal(
        store=store, clock=made.clock, span=timedelta(hours=1), cooldown=timedelta(minutes=5), claim=claim, entries=[]
    )


def test_an_effect_without_an_account_is_a_fault_of_ours() -> None:
    """No step may ask for it."""
    made = journal(ModelStore(), record(PROVISIONING_ORDER))
    with pytest.raises(AssertionError, match=str(UID)):
        made.perform(ReleaseDevice(device_id=ONE), Binding(inputs="x"))


@pytest.mark.parametrize("kind", [FaultKind.OH_SNAP_BEFORE, FaultKind.THROTTLED])
def test_a_reservation_is_not_to_blame_for_an_outage(kind: FaultKind) -> None:
    """It does not cool down, and is ordered on as soon as the cloud answers."""
    made = world(settings=RESERVED)
    made.cloud.faults.add(FaultRule(kind=kind, left=1, operation=Operation.CREATE))
    made.settle()
    assert [each.reservation for each in made.cloud.history()] == [RESERVATION]


def test_a_reservation_that_is_taken_cools_down() -> None:
    """A hold on hardware that somebody else uses is given back, and tried again when it has cooled down."""
    made = World(Seed("runner"), ModelStore(), RESERVED)
    made.buy_untagged("stranger", hardware_reservation_id=RESERVATION)
    made.create(NAME)
    made.run_until(made.store.reservations)
    made.step()
    assert [each.freed_at is not None for each in made.store.reservations()] == [True]
    assert now_of(made).place == PENDING_WAIT_CAPACITY


def test_an_account_is_only_expected_while_there_is_one() -> None:
    """A machine whose class vanished expects nothing of a cloud."""
    made = serving()
    made.cluster.user.make_class("workers", secret="nowhere", spec={})
    made.run_for(timedelta(minutes=1))
    assert now_of(made).state is State.ACTIVE
    assert made.engine.inventory.awaited(AccountKey("none")) == (0, 0.0)


def test_an_object_and_a_class_that_are_unknown_bind_nothing() -> None:
    """A record without a class, of a Machine that is not there."""
    made = serving()
    observer = runner_of(made.engine).observer
    context = observer.observe(replace(record(PROVISIONING_ORDER), class_name=""))
    assert context.binding.inputs == "no object"
    assert context.snapshot is None
    known = observer.observe(replace(record(PROVISIONING_ORDER), class_name="workers"))
    assert known.snapshot


def test_finalizers_that_others_changed_are_read_again() -> None:
    """A conflict is no loss: the patch is decided anew; and a finalizer that was stripped is put back."""
    made = world(settings=WorldSettings(lag=timedelta(seconds=5)))
    made.run_until(lambda: now_of(made).device_id if made.store.find(MachineFilter()) else None)
    made.cluster.user.change_machine(NAME, finalizers=("theirs",))
    made.settle()
    kept = made.cluster.user.machine(NAME)
    assert kept
    assert set(kept.finalizers) == {"theirs", MACHINE_FINALIZER}
