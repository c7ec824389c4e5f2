"""The board of lists, the bindings, the mirror and the record after a fact."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.domain.ids import AccountKey
from engine.domain.lifecycle import IllegalMoveError
from engine.domain.machine import HistoryEntry, NodeCondition
from engine.domain.phase import LastOperation, MachineStatus, status_of
from engine.domain.states import (
    ACTIVE_HEALTHY,
    DELETED_REST,
    DELETING_RELEASE,
    FAILED_HALT,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
    PROVISIONING_ORDER,
    Place,
)
from engine.domain.triggers import Trigger
from engine.domain.wanted import MachineObject, SecretReference
from engine.errors import ClusterError
from engine.ports.cluster import EventKind
from engine.ports.provider import Cloud
from engine.simulators.clock import VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.seed import Seed
from engine.workflow.binding import BINDINGS_MAX, Bindings
from engine.workflow.inventory import Inventory, snapshot_of
from engine.workflow.journal import moved
from engine.workflow.mirror import EVENT_MESSAGE_LENGTH_MAX, Mirror, same
from engine.workflow.observation import Marks
from engine.workflow.step import Advance
from tests.unit.workflow.builders import (
    ACCOUNT,
    FAULT,
    NOON,
    ONE,
    OTHER_UID,
    PROVIDER,
    SPEC,
    TWO,
    UID,
    binding,
    context,
    device,
    machine,
    record,
    snapshot,
)

SECRET = {"apiToken": b"token-token", "userData": b"hello <<MACHINE_NAME>>"}
STRANGE = AccountKey("EquinixMetal/strange")


def cloud() -> Cloud:
    """The account of the builders."""
    made = binding().cloud
    assert made
    return made


def board() -> Inventory:
    """A board with one account."""
    made = Inventory()
    made.register(cloud())
    return made


def test_an_account_that_nobody_uses_is_unknown() -> None:
    """It answers nothing, takes nothing, and wakes nobody."""
    empty = Inventory()
    empty.expect(STRANGE, UID, next_list=True, at=1.0)
    empty.settle(STRANGE, UID)
    empty.recall(STRANGE, [ONE])
    assert empty.snapshot(STRANGE) is None
    assert empty.problem(STRANGE) is None
    assert empty.awaited(STRANGE) == (0, 0.0)
    assert empty.publish(snapshot()) == (set(), [], [])
    assert empty.fail(STRANGE, FAULT) == set()
    assert not empty.recalls(STRANGE)
    assert not empty.was_shown(STRANGE, ONE)


def test_an_account_is_listed_while_it_is_used() -> None:
    """The newest cloud of an account counts; what nobody uses is forgotten."""
    made, newer = board(), cloud()
    made.register(newer)
    assert made.clouds() == [newer]
    made.retain([ACCOUNT])
    assert made.clouds() == [newer]
    made.retain([])
    assert made.clouds() == []


def test_a_list_wakes_those_whom_it_concerns() -> None:
    """Who waits for a list, who owns what changed or vanished, whose tag is new, and who has two devices."""
    made = board()
    made.own(ONE, UID)
    wake, changed, vanished = made.publish(snapshot(device(owner=None)))
    assert (wake, changed, vanished) == ({UID}, [device(owner=None)], [])
    assert made.publish(snapshot(device(owner=None)))[0] == set()
    made.expect(ACCOUNT, OTHER_UID, next_list=True, at=1.0)
    assert made.publish(snapshot(device(owner=None)))[0] == {OTHER_UID}
    assert made.publish(snapshot())[::2] == ({UID}, [ONE])
    assert made.publish(snapshot(device(TWO, owner=OTHER_UID)))[0] == {OTHER_UID}
    two = (device(TWO, owner=OTHER_UID), device(ONE, owner=OTHER_UID))
    made.publish(snapshot(*two))
    assert made.publish(snapshot(*two))[0] == {OTHER_UID}


def test_a_failed_list_is_told_once() -> None:
    """Those who wait hear of a new problem, and the next list ends it."""
    made = board()
    made.expect(ACCOUNT, UID, next_list=True, at=1.0)
    assert made.fail(ACCOUNT, FAULT) == {UID}
    assert made.fail(ACCOUNT, FAULT) == set()
    assert made.problem(ACCOUNT) == FAULT
    made.publish(snapshot())
    assert made.problem(ACCOUNT) is None
    assert made.snapshot(ACCOUNT)


def test_expectations_are_counted_once() -> None:
    """Who waits for another thing waits for one; the newest says since when."""
    made = board()
    made.expect(ACCOUNT, UID, next_list=False, at=1.0)
    made.expect(ACCOUNT, UID, next_list=False, at=2.0)
    assert made.awaited(ACCOUNT) == (1, 1.0)
    made.expect(ACCOUNT, UID, next_list=True, at=3.0)
    assert made.awaited(ACCOUNT) == (1, 3.0)
    made.settle(ACCOUNT, UID)
    assert made.awaited(ACCOUNT) == (0, 3.0)
    made.expect(ACCOUNT, UID, next_list=True, at=4.0)
    made.own(ONE, UID)
    made.disown(UID, [ONE, TWO])
    assert made.awaited(ACCOUNT)[0] == 0
    assert made.owner_of(ONE) is None


def test_what_was_shown_once_is_remembered() -> None:
    """By this process, or by an earlier one that wrote it down."""
    made = board()
    made.publish(snapshot(device()))
    made.publish(snapshot())
    assert made.was_shown(ACCOUNT, ONE)
    assert not made.recalls(ACCOUNT)
    made.recall(ACCOUNT, [TWO])
    assert made.recalls(ACCOUNT)
    assert made.was_shown(ACCOUNT, TWO)


def test_a_snapshot_is_indexed() -> None:
    """By owner, and by hostname when there is none."""
    made = snapshot_of(cloud(), [device(), device(TWO, owner=None)], started=1.0, finished_at=NOON)
    assert list(made.by_owner) == [UID]
    assert [each.device_id for each in made.untagged["worker-1"]] == [TWO]


def test_a_context_reads_the_list() -> None:
    """Own devices, the recorded one, and whose another is."""
    seen = context(record(device_id=ONE), shown=[device(), device(TWO, owner=OTHER_UID)])
    assert [each.device_id for each in seen.own_devices] == [ONE]
    assert seen.device == device()
    assert seen.is_foreign(TWO)
    assert not seen.is_foreign(ONE)
    blind = replace(seen, snapshot=None)
    assert (blind.own_devices, blind.device, blind.is_foreign(TWO)) == ((), None, False)
    assert not blind.listed_since(0.0)
    assert context(record(), shown=[device()]).device is None


def test_marks_remember_the_first_time() -> None:
    """`first` keeps, `set` renews, `forget` forgets."""
    clock = VirtualClock()
    marks = Marks(clock)
    assert marks.known("a") is None
    assert marks.first("a") == 0.0
    clock.advance(timedelta(seconds=5))
    assert marks.first("a") == 0.0
    marks.set("a")
    assert marks.known("a") == 5.0
    marks.forget("a", "b")
    assert marks.known("a") is None


def bindings(**spec: Any) -> tuple[Bindings, SimulatedCluster]:
    """Bindings over a class and its Secret."""
    cluster = SimulatedCluster(clock=VirtualClock(), seed=Seed(1))
    cluster.user.make_secret("key", SECRET)
    cluster.user.make_class("workers", secret="key", spec=SPEC | spec)
    return Bindings(cluster, {PROVIDER.name: PROVIDER}), cluster


def fault_of(made: Bindings, **different: Any) -> str:
    """The fault of the binding that a Machine has now."""
    fault = made.of(machine(**different)).fault
    return fault.message if fault else ""


def test_a_binding_is_made_once_for_each_version() -> None:
    """The same versions give the same account; a new Secret gives another."""
    made, cluster = bindings()
    first = made.of(machine())
    assert first.cloud
    assert made.of(machine()) is first
    cluster.user.make_secret("key", {**SECRET, "apiToken": b"other-other"})
    second = made.of(machine())
    assert second.inputs != first.inputs
    assert second.cloud
    assert second.cloud.account != first.cloud.account


def test_userdata_names_its_machine() -> None:
    """Both spellings of the placeholder are filled in; it is never printed."""
    made, cluster = bindings()
    bound = made.of(machine())
    assert bound.userdata_for("w-7") == "hello w-7"
    assert "hello" not in repr(bound)
    cluster.user.make_secret("key", {**SECRET, "userData": b"hello %3C%3CMACHINE_NAME%3E%3E"})
    assert made.of(machine()).userdata_for("w-7") == "hello w-7"


def test_every_fault_of_a_class_is_told_in_words() -> None:
    """Which object, which field, and what to write instead."""
    made, cluster = bindings()
    assert "is empty" in fault_of(made, class_name="")
    assert "AWSMachineClass" in fault_of(made, class_kind="AWSMachineClass")
    assert "nothing does not exist" in fault_of(made, class_name="nothing")
    cluster.user.make_class("workers", secret="key", spec=SPEC, provider="AWS")
    assert "write one of: EquinixMetal" in fault_of(made)
    cluster.user.make_class("workers", secret="nowhere", spec=SPEC)
    assert "shoot/nowhere does not exist" in fault_of(made)
    cluster.user.make_class("workers", secret="", spec=SPEC)
    assert "secretRef is missing" in fault_of(made)
    cluster.user.make_class("workers", secret="key", spec={})
    assert "metro is missing" in fault_of(made)


def test_a_second_secret_is_merged() -> None:
    """The credentials may stand in a Secret of their own, without a namespace too."""
    made, cluster = bindings()
    cluster.user.make_secret("key", {"userData": b"u"})
    cluster.user.make_secret("cloud", {"apiToken": b"token-token"})
    reference = SecretReference(namespace="", name="cloud")
    cluster.user.make_class("workers", secret="key", spec=SPEC, credentials_secret=reference)
    assert made.of(machine()).cloud


def test_a_class_too_broken_to_buy_may_still_return() -> None:
    """With project and key, devices are returned although nothing can be bought."""
    made, _ = bindings(machineType="")
    bound = made.of(machine())
    assert bound.cloud is None
    assert bound.returning
    lost, _ = bindings(projectID="")
    assert lost.of(machine()).returning is None


def test_bindings_do_not_pile_up() -> None:
    """Old versions are forgotten."""
    made, cluster = bindings()
    for number in range(BINDINGS_MAX + 5):
        cluster.user.make_class("workers", secret="key", spec=SPEC | {"metro": f"m{number}"})
        made.of(machine())
    assert len(made._made) == BINDINGS_MAX


def mirrored(*, target: bool = True) -> tuple[Mirror, SimulatedCluster, MachineObject]:
    """A mirror before a cluster with one Machine."""
    cluster = SimulatedCluster(clock=VirtualClock(), seed=Seed(1), target=target)
    return Mirror(cluster), cluster, cluster.user.make_machine("worker-1", class_name="workers", uid=UID)


def test_a_status_is_written_when_it_differs() -> None:
    """Once, and not again for instants alone."""
    mirror, cluster, _ = mirrored()
    serving = record(ACTIVE_HEALTHY, device_id=ONE)
    mirror.reflect(serving)
    mirror.reflect(replace(serving, operation_at=NOON + timedelta(hours=1)))
    assert cluster.writes["write_status"] == 1
    found = cluster.machine(UID)
    assert found
    assert found.status
    assert found.status.phase == "Running"
    mirror.reflect(replace(serving, place=DELETED_REST))
    mirror.reflect(replace(serving, uid=OTHER_UID))
    assert cluster.writes["write_status"] == 1


def test_an_object_that_goes_meanwhile_is_no_error() -> None:
    """There is nothing left to tell; another refusal is the caller's."""
    mirror, cluster, made = mirrored()
    cluster.lag = timedelta(minutes=1)
    cluster.user.delete(type(made), made.name)
    mirror.reflect(record(ACTIVE_HEALTHY))
    cluster.refusing = ClusterError("away")
    with pytest.raises(ClusterError):
        mirror.reflect(record(ACTIVE_HEALTHY))


def entry(trigger: Trigger, source: Place | None, target: Place, **different: Any) -> HistoryEntry:
    """One line of history."""
    return HistoryEntry(
        uid=UID,
        version=different.pop("version", 2),
        at=NOON,
        trigger=trigger,
        source=source,
        target=target,
        **different,
    )


def test_one_run_is_one_event() -> None:
    """A change of state or a fault is told, with its reason; steps and reports alone are not."""
    mirror, cluster, made = mirrored()
    quiet = entry(Trigger.DEVICE_ACTIVATED, PROVISIONING_INSTALL, PROVISIONING_JOIN, note="up")
    unmoved = entry(Trigger.NODE_REPORTED, ACTIVE_HEALTHY, ACTIVE_HEALTHY)
    mirror.announce(made, [quiet, unmoved])
    mirror.announce(None, [entry(Trigger.DEVICE_FAILED, PROVISIONING_INSTALL, FAILED_HALT)])
    assert not cluster.events
    admitted = entry(Trigger.ADMITTED, None, PROVISIONING_ORDER, note="seen", version=1)
    joined = entry(Trigger.NODE_JOINED, PROVISIONING_JOIN, ACTIVE_HEALTHY, note="joined", version=3)
    mirror.announce(made, [admitted, quiet, joined])
    refused = entry(
        Trigger.ATTEMPT_FAILED, PROVISIONING_ORDER, PROVISIONING_ORDER, note="n" * 2000, problem=FAULT, version=4
    )
    mirror.announce(made, [refused])
    told, trouble = cluster.events.values()
    assert (told.kind, told.reason) == (EventKind.NORMAL, "NodeJoined")
    assert told.message == "Provisioning: seen; up; Provisioning → Active: joined"
    assert trouble.kind is EventKind.WARNING
    assert len(trouble.message) == EVENT_MESSAGE_LENGTH_MAX


def test_instants_and_heartbeats_are_no_news() -> None:
    """Phase, timer, operation, conditions by type and status, and addresses are."""
    plain = status_of(record(ACTIVE_HEALTHY, conditions=(NodeCondition(type="Ready", status="True"),)), target=True)
    assert plain
    assert plain.operation
    assert not same(None, plain)
    beat = (NodeCondition(type="Ready", status="True", last_heartbeat_at=NOON),)
    assert same(replace(plain, conditions=beat, phase_at=NOON + timedelta(days=1)), plain)
    assert not same(replace(plain, timeout_active=True), plain)
    assert not same(replace(plain, operation=None), plain)
    assert not same(replace(plain, operation=replace(plain.operation, description="other")), plain)
    assert not same(replace(plain, conditions=(NodeCondition(type="Ready", status="False"),)), plain)
    assert isinstance(plain, MachineStatus)
    assert isinstance(plain.operation, LastOperation)


def test_a_new_place_starts_afresh() -> None:
    """Without problem, attempts and timers; a fact that changes no place keeps them, and may add a problem."""
    tired = record(PROVISIONING_ORDER, problem=FAULT, attempts=3, retry_at=NOON, due_at=NOON)
    after = moved(tired, Advance(trigger=Trigger.DEVICE_ORDERED, note="", changes={"device_id": ONE}), NOON)
    assert (after.problem, after.attempts, after.retry_at, after.due_at) == (None, 0, None, None)
    assert (after.place, after.version, after.device_id) == (PROVISIONING_INSTALL, 2, ONE)
    stay = moved(tired, Advance(trigger=Trigger.ORDER_RESOLVED, note=""), NOON)
    assert (stay.problem, stay.attempts) == (FAULT, 3)
    blamed = moved(replace(tired, problem=None), Advance(trigger=Trigger.ATTEMPT_FAILED, note="", problem=FAULT), NOON)
    assert blamed.problem == FAULT


def test_the_phase_keeps_its_instant() -> None:
    """It changes with the phase and with nothing else; the first joining is remembered, later ones are not."""
    later_on = NOON + timedelta(minutes=3)
    joining = record(PROVISIONING_JOIN, device_id=ONE)
    joined = moved(joining, Advance(trigger=Trigger.NODE_JOINED, note=""), later_on)
    assert (joined.place_since, joined.joined_at) == (later_on, later_on)
    installing = record(PROVISIONING_INSTALL, device_id=ONE)
    same_phase = moved(installing, Advance(trigger=Trigger.DEVICE_ACTIVATED, note=""), later_on)
    assert same_phase.place_since == NOON
    back = moved(replace(joined, place=FAILED_HALT), Advance(trigger=Trigger.RECOVERED, note=""), later_on)
    assert back.joined_at == later_on


def test_an_illegal_fact_is_refused() -> None:
    """The table of lives has the last word."""
    with pytest.raises(IllegalMoveError):
        moved(record(DELETING_RELEASE), Advance(trigger=Trigger.NODE_JOINED, note=""), NOON)
