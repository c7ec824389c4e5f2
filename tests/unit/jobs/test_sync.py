"""Who is woken by which change, and what the workers do with it."""

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from engine.clock import SystemClock
from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.states import ACTIVE_HEALTHY
from engine.domain.wanted import MACHINE_FINALIZER, NodeObject, SecretReference
from engine.errors import StoreUnavailableError
from engine.jobs import sync_cluster
from engine.jobs.dispatch import Dispatch
from engine.jobs.queue import ReadyQueue
from engine.jobs.reap import Reap
from engine.jobs.sync_cluster import SyncCluster
from engine.ports.cluster import ClusterUnavailableError, Kind, ObjectChange
from engine.simulators.clock import VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.seed import Seed
from engine.workflow.binding import Bindings
from engine.workflow.inventory import Inventory
from engine.workflow.runner import Ran, Report
from tests.contract.store_records import SPAN, START, entry
from tests.contract.store_records import machine as machine_record
from tests.model.model_store import ModelStore
from tests.unit.workflow.builders import ONE, PROVIDER, SPEC, TWO, record

SECONDS_MAX = 10.0


class Stage:
    """A comparison before a cluster with one class and its Secret."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.store = ModelStore()
        self.cluster = SimulatedCluster(clock=self.clock, seed=Seed(1))
        self.user = self.cluster.user
        self.user.make_secret("key", {"apiToken": b"token-token", "userData": b"u"})
        self.user.make_class("workers", secret="key", spec=SPEC)
        self.inventory = Inventory()
        self.woken: list[str] = []
        self.job = SyncCluster(
            clock=self.clock,
            store=self.store,
            cluster=self.cluster,
            bindings=Bindings(self.cluster, {PROVIDER.name: PROVIDER}),
            inventory=self.inventory,
            wake=self.woken.append,
            full_every=timedelta(minutes=10),
        )

    def begin(self) -> None:
        """The first comparison is over, and nobody is woken any more."""
        self.cluster.start(self.job.notice)
        self.turn()
        self.turn()
        self.woken.clear()

    def turn(self) -> list[str]:
        """Whom one turn wakes."""
        self.woken.clear()
        self.job.turn()
        return sorted(set(self.woken))


def test_nothing_is_compared_before_everything_is_listed() -> None:
    """And whoever waits for news does not spin."""
    stage = Stage()
    stage.job.notice(ObjectChange(kind=Kind.MACHINE, namespace="shoot", name="m", deleted=False))
    assert stage.turn() == []
    assert not stage.job.arrived.is_set()


def test_a_full_comparison_wakes_everybody() -> None:
    """Those who are recorded and those who are new; its period is kept."""
    stage = Stage()
    known = record(ACTIVE_HEALTHY, device_id=ONE, node_name="n-1")
    stage.store.admit(record=known, entry=entry(known))
    made = stage.user.make_machine("m", class_name="workers")
    stage.cluster.start(stage.job.notice)
    assert stage.turn() == sorted([known.uid, made.uid])
    assert stage.inventory.owner_of(ONE) == known.uid
    assert len(stage.inventory.clouds()) == 1
    assert stage.turn() == [], "that its class was protected is no news to the one who did it"
    stage.turn()
    stage.clock.advance(timedelta(minutes=9))
    assert stage.turn() == []
    stage.clock.advance(timedelta(minutes=1))
    assert known.uid in stage.turn()


def test_a_machine_is_woken_from_birth_to_end() -> None:
    """One that leaves without our finalizer is none of ours."""
    stage = Stage()
    stage.begin()
    made = stage.user.make_machine("m", class_name="workers")
    assert stage.turn() == [made.uid]
    stage.turn()
    stage.user.change_machine("m", finalizers=(MACHINE_FINALIZER,))
    assert stage.turn() == [made.uid]
    stage.user.delete(type(made), "m")
    stage.user.change_machine("m", finalizers=())
    assert stage.turn() == [made.uid]
    stage.user.make_machine("other", class_name="workers", deletion_requested_at=START, finalizers=("theirs",))
    stage.turn()
    assert "other" not in stage.job._known.values()


def test_a_class_and_its_secrets_wake_their_machines() -> None:
    """Whichever field names the Secret; and the accounts that are listed are the new ones."""
    stage = Stage()
    made = stage.user.make_machine("m", class_name="workers")
    stage.user.make_machine("stranger", class_name="other")
    stage.begin()
    before = stage.inventory.clouds()[0].account
    stage.user.make_secret("key", {"apiToken": b"another-token", "userData": b"u"})
    assert stage.turn() == [made.uid]
    assert [cloud.account for cloud in stage.inventory.clouds()] != [before]
    assert len(stage.inventory.clouds()) == 1
    stage.user.make_class("workers", secret="", spec=SPEC, credentials_secret=SecretReference(namespace="", name="key"))
    assert stage.turn() == [made.uid]
    stage.turn()
    stage.user.make_secret("key", {"apiToken": b"another-token", "userData": b"v"})
    assert stage.turn() == [made.uid]
    stage.user.make_secret("unnamed", {})
    assert stage.turn() == []


def test_a_node_wakes_its_machine() -> None:
    """By its name, by its device, and by what is remembered of it when it goes."""
    stage = Stage()
    made = stage.user.make_machine("m", class_name="workers")
    stage.begin()
    stage.user.make_node("m")
    assert stage.turn() == [made.uid]
    stage.user.make_node("stranger")
    assert stage.turn() == []
    stage.inventory.own(TWO, MachineUid("owner"))
    stage.user.make_node("odd", provider_id=f"equinixmetal://{TWO}")
    assert stage.turn() == ["owner"]
    stage.user.delete(NodeObject, "odd")
    assert stage.turn() == ["owner"]
    stage.user.delete(NodeObject, "stranger")
    assert stage.turn() == []


def test_a_refused_finalizer_is_tried_again() -> None:
    """Until it is there."""
    stage = Stage()
    stage.begin()
    stage.cluster.refusing = ClusterUnavailableError("away")
    stage.user.make_machine("m", class_name="workers")
    stage.turn()
    stage.cluster.refusing = None
    stage.turn()
    found = stage.cluster.machine_class("workers")
    assert found
    assert MACHINE_FINALIZER in found.finalizers


def test_a_database_that_is_away_leads_to_a_full_comparison() -> None:
    """No change is lost."""

    class Away(ModelStore):
        """A store that does not answer for a while."""

        away = True

        def find(self, wanted: MachineFilter) -> Sequence[MachineRecord]:
            """Refuse, or answer."""
            if self.away:
                raise StoreUnavailableError("away")
            return super().find(wanted)

    stage = Stage()
    store = Away()
    stage.job.store = store
    made = stage.user.make_machine("m", class_name="workers")
    stage.cluster.start(stage.job.notice)
    assert stage.turn() == []
    store.away = False
    assert stage.turn() == [made.uid]


def test_too_many_changes_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlog has a limit."""
    monkeypatch.setattr(sync_cluster, "_BACKLOG_MAX", 2)
    stage = Stage()
    made = stage.user.make_machine("m", class_name="workers")
    stage.begin()
    for number in range(4):
        stage.job.notice(ObjectChange(kind=Kind.MACHINE, namespace="shoot", name=f"gone-{number}", deleted=True))
    assert made.uid in stage.turn()


class Recorder:
    """A runner that only reports."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.ran: list[str] = []
        self.free = threading.Event()
        self.began = threading.Event()
        self.free.set()

    def run(self, uid: MachineUid) -> Report:
        """Take note."""
        self.began.set()
        self.free.wait(SECONDS_MAX)
        self.ran.append(uid)
        return self.report


def dispatch(stage: Stage, runner: Recorder, *, real: bool = False) -> Dispatch:
    """A dispatch over the stage."""
    return Dispatch(
        clock=SystemClock() if real else stage.clock,
        store=stage.store,
        cluster=stage.cluster,
        runner=runner,  # type: ignore[arg-type]  # it only runs
        queue=ReadyQueue(),
    )


def test_what_is_due_is_handed_out() -> None:
    """Not before everything is listed; in the lane of its class."""
    stage, runner = Stage(), Recorder(Report(ran=Ran.DONE))
    due = machine_record(1)
    stage.store.admit(record=due, entry=entry(due))
    job = dispatch(stage, runner)
    job.turn()
    assert not job.serve_next(0)
    stage.cluster.start(stage.job.notice)
    job.turn()
    job.wake(stage.user.make_machine("m", class_name="workers").uid)
    assert job.serve_next(0)
    assert job.serve_next(0)
    assert not job.serve_next(0)
    assert len(runner.ran) == 2


@pytest.mark.parametrize(
    ("ran", "due", "after"),
    [
        (Ran.HELD_ELSEWHERE, None, 1),
        (Ran.STORE_AWAY, None, 2),
        (Ran.DONE, 1, 1),
        (Ran.DONE, 60, None),
        (Ran.DONE, None, None),
    ],
)
def test_a_short_wait_is_kept_in_memory(ran: Ran, due: int | None, after: int | None) -> None:
    """So that it needs no row; a long one is a row's."""
    stage = Stage()
    stage.cluster.start(stage.job.notice)
    due_at = stage.clock.now() + timedelta(seconds=due) if due else None
    runner = Recorder(Report(ran=ran, due_at=due_at))
    job = dispatch(stage, runner)
    job.wake(MachineUid("u"))
    assert job.serve_next(0)
    for seconds in range(1, 5):
        stage.clock.advance(timedelta(seconds=1))
        job.turn()
        if job.serve_next(0):
            assert seconds == after
            return
    assert after is None


def test_workers_work_until_they_are_stopped() -> None:
    """They show that they live, and how long the slowest has been away."""
    stage, runner = Stage(), Recorder(Report(ran=Ran.DONE))
    stage.cluster.start(stage.job.notice)
    job = dispatch(stage, runner, real=True)
    assert job.stuck_for() == timedelta(0)
    runner.free.clear()
    job.start(2)
    job.wake(MachineUid("u"))
    assert runner.began.wait(SECONDS_MAX)
    assert job.alive()
    assert job.stuck_for() >= timedelta(0)
    runner.free.set()
    job.stop(timedelta(seconds=SECONDS_MAX))
    assert runner.ran == ["u"]
    assert not job.alive()
    assert job.stuck_for() == timedelta(0)


def test_an_expired_claim_is_taken_back() -> None:
    """Its machine is woken; one that is still held is not."""
    stage = Stage()
    for number in (1, 2):
        held = machine_record(number)
        stage.store.admit(record=held, entry=entry(held))
        stage.store.claim(uid=held.uid, worker="dead", now=START, span=SPAN * number)
    stage.clock.advance(SPAN)
    Reap(clock=stage.clock, store=stage.store, wake=stage.woken.append).turn()
    assert stage.woken == ["uid-1"]
