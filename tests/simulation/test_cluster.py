"""The cluster in memory keeps what the port promises, as far as a simulated world leans on it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.machine import NodeCondition
from engine.domain.phase import MachineStatus
from engine.domain.wanted import (
    MACHINE_FINALIZER,
    ClassObject,
    MachineObject,
    NodeObject,
    SecretObject,
    SecretReference,
)
from engine.ports.cluster import (
    ClusterUnavailableError,
    ConflictError,
    EventKind,
    Kind,
    MachineEvent,
    MachinePatch,
    ObjectChange,
    ObjectGoneError,
    ObjectRefusedError,
)
from engine.simulators.clock import VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.seed import Seed

STATUS = MachineStatus(phase="Running", phase_at=None, conditions=(NodeCondition(type="Ready", status="True"),))


class Stage:
    """A cluster, and what its listener heard."""

    def __init__(self, *, target: bool = True) -> None:
        self.clock = VirtualClock()
        self.cluster = SimulatedCluster(clock=self.clock, seed=Seed(1), target=target)
        self.user = self.cluster.user
        self.heard: list[ObjectChange] = []
        assert not self.cluster.synced()
        self.cluster.start(self.heard.append)

    def machine(self, **more: object) -> MachineObject:
        """A Machine as it is read."""
        made = self.user.make_machine("m", class_name="small", **more)
        found = self.cluster.machine(made.uid)
        assert found
        return found


def test_everybody_reads_what_the_watch_has_shown() -> None:
    """After its lag, the creation, the change and the end are readable and told."""
    stage = Stage()
    stage.cluster.lag = timedelta(seconds=5)
    made = stage.user.make_machine("m", class_name="small")
    assert stage.cluster.machine_named("m") is None
    assert stage.user.machine("m") == made
    stage.user.delete(MachineObject, "m")
    stage.user.delete(MachineObject, "m")
    stage.clock.advance(timedelta(seconds=5))
    stage.cluster.deliver()
    assert list(stage.cluster.machines()) == []
    stage.cluster.stop()
    assert not stage.cluster.synced()
    assert stage.cluster.blind_for() == timedelta(0)


def test_a_writer_reads_its_own_words_and_no_older_ones() -> None:
    """What is under way when we write does not take our write back."""
    stage = Stage()
    machine = stage.machine()
    stage.cluster.lag = timedelta(seconds=5)
    stage.user.change_machine("m", labels={"by": "user"})
    after = stage.cluster.patch_machine(machine, MachinePatch(labels={"by": "us"}, provider_id="p"))
    assert (after.labels, after.provider_id) == ({"by": "us"}, "p")
    stage.clock.advance(timedelta(seconds=5))
    stage.cluster.deliver()
    assert stage.cluster.machine(machine.uid) == after
    assert stage.cluster.patch_machine(after, MachinePatch()) is not None
    assert stage.cluster.machine(machine.uid) == after


def test_what_is_gone_is_not_shown_again() -> None:
    """A change of an object that ended meanwhile, and its end after a successor came, are both old news."""
    stage = Stage()
    machine = stage.machine(finalizers=(MACHINE_FINALIZER,))
    stage.cluster.lag = timedelta(seconds=5)
    stage.user.delete(MachineObject, "m")
    seen = stage.cluster.machine(machine.uid)
    assert seen
    assert seen.deletion_requested_at is None
    truth = stage.user.machine("m")
    assert truth
    stage.cluster.drop_finalizer(truth)
    assert stage.cluster.machine(machine.uid) is None
    stage.clock.advance(timedelta(seconds=5))
    stage.cluster.deliver()
    assert stage.cluster.machine(machine.uid) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda cluster, machine: cluster.patch_machine(machine, MachinePatch(add_finalizer=True)),
        lambda cluster, machine: cluster.write_status(machine, STATUS),
    ],
    ids=["patch", "status"],
)
def test_a_write_is_for_exactly_this_machine(write: Callable[[SimulatedCluster, MachineObject], object]) -> None:
    """Another one of the same name is left alone, as is nobody."""
    stage = Stage()
    machine = stage.machine()
    stage.user.delete(MachineObject, "m")
    with pytest.raises(ObjectGoneError):
        write(stage.cluster, machine)
    successor = stage.machine()
    with pytest.raises(ObjectGoneError):
        write(stage.cluster, machine)
    stage.cluster.drop_finalizer(replace(machine, finalizers=(MACHINE_FINALIZER,)))
    assert stage.user.machine("m") == successor


def test_finalizers_are_guarded() -> None:
    """Adding conflicts with changed finalizers and is refused to the dying; dropping conflicts with any change."""
    stage = Stage()
    machine = stage.machine()
    stage.user.change_machine("m", finalizers=("theirs",))
    with pytest.raises(ConflictError):
        stage.cluster.patch_machine(machine, MachinePatch(add_finalizer=True))
    fresh = stage.cluster.machine(machine.uid)
    assert fresh
    both = stage.cluster.patch_machine(fresh, MachinePatch(add_finalizer=True))
    assert both.finalizers == ("theirs", MACHINE_FINALIZER)
    stage.user.change_machine("m", labels={"a": "b"})
    with pytest.raises(ConflictError):
        stage.cluster.drop_finalizer(both)
    stage.user.delete(MachineObject, "m")
    dying = stage.cluster.machine(machine.uid)
    assert dying
    stage.cluster.drop_finalizer(dying)
    left = stage.user.machine("m")
    assert left
    assert left.finalizers == ("theirs",)
    with pytest.raises(ObjectRefusedError):
        stage.cluster.patch_machine(left, MachinePatch(add_finalizer=True))
    stage.user.change_machine("m", finalizers=())
    assert stage.user.machine("m") is None
    assert stage.user.change_machine("m", finalizers=()) is None


@pytest.mark.parametrize("target", [True, False])
def test_conditions_go_with_a_target_and_addresses_without(*, target: bool) -> None:
    """And the same status twice is one write at the API server."""
    stage = Stage(target=target)
    after = stage.cluster.write_status(stage.machine(), STATUS)
    assert after.status
    assert bool(after.status.conditions) is target
    assert stage.cluster.write_status(after, STATUS) == after
    assert stage.cluster.writes["write_status"] == 2


def test_a_node_is_found_by_name_or_device() -> None:
    """Not when it is somebody else's, and not without a target."""
    stage, lonely = Stage(), Stage(target=False)
    made = stage.user.make_node("n", provider_id="equinixmetal://device-1")
    assert stage.cluster.node(name="n", device_suffix="") == made
    assert stage.cluster.node(name="other", device_suffix="device-1") == made
    assert stage.cluster.node(name="n", device_suffix="device-2") is None
    assert stage.cluster.node(name="other", device_suffix="") is None
    stage.user.set_ready("n", ready=False)
    stage.user.set_ready("nobody", ready=False)
    stage.cluster.delete_node(replace(made, uid="another"))
    assert stage.user.node("n")
    stage.cluster.delete_node(made)
    stage.cluster.delete_node(made)
    assert stage.user.node("n") is None
    stage.user.delete(NodeObject, "n")
    lonely.user.make_node("n")
    assert lonely.cluster.node(name="n", device_suffix="") is None


def test_classes_and_secrets_are_protected() -> None:
    """Twice changes nothing; what is dying goes with its last finalizer; what is gone cannot be protected."""
    stage = Stage()
    stage.user.make_secret("key", {})
    assert stage.cluster.secrets() == []
    made = stage.user.make_class("small", secret="key", spec={})
    held = stage.cluster.secret(SecretReference(namespace="", name="key"))
    assert held
    assert stage.cluster.secret(SecretReference(namespace="elsewhere", name="key")) is None
    for _ in range(2):
        stage.cluster.protect_class(made, protected=True)
        stage.cluster.protect_secret(held, protected=True)
    stage.user.delete(ClassObject, "small")
    stage.user.delete(SecretObject, "key")
    assert [each.name for each in stage.cluster.secrets()] == ["key"]
    for _ in range(2):
        stage.cluster.protect_class(made, protected=False)
        stage.cluster.protect_secret(held, protected=False)
    assert stage.cluster.machine_class("small") is None
    assert list(stage.cluster.machine_classes()) == []
    with pytest.raises(ObjectGoneError):
        stage.cluster.protect_secret(held, protected=True)


def test_every_write_can_be_refused() -> None:
    """Before its effect; events are kept by their key."""
    stage = Stage()
    machine = stage.machine()
    stage.cluster.refusing = ClusterUnavailableError("away")
    with pytest.raises(ClusterUnavailableError):
        stage.cluster.patch_machine(machine, MachinePatch(labels={"a": "b"}))
    assert stage.user.machine("m") == machine
    event = MachineEvent(machine=machine, kind=EventKind.NORMAL, reason="R", message="one", key="k")
    stage.cluster.announce(event)
    stage.cluster.announce(replace(event, message="two"))
    assert [each.message for each in stage.cluster.events.values()] == ["one"]


def test_a_watch_that_goes_back_shows_the_old_state_and_then_what_happened_since() -> None:
    """What ended meanwhile is there again, what came meanwhile is not until its event comes, whoever writes to it."""
    stage = Stage()
    stage.user.make_machine("old", class_name="small")
    stage.clock.advance(timedelta(seconds=60))
    stage.user.delete(MachineObject, "old")
    machine = stage.machine()
    stage.cluster.watch.rewind(timedelta(seconds=30))
    assert [each.name for each in stage.cluster.machines()] == ["old"]
    after = stage.cluster.patch_machine(machine, MachinePatch(labels={"by": "us"}))
    stage.clock.advance(timedelta(seconds=30))
    stage.cluster.deliver()
    assert list(stage.cluster.machines()) == [after]
    assert [(each.name, each.deleted) for each in stage.heard[-3:]] == [("old", True), ("m", False), ("m", False)]


def test_a_watch_goes_back_no_further_than_it_remembers() -> None:
    """What is older is kept as its result."""
    stage = Stage()
    stage.user.make_machine("old", class_name="small")
    stage.user.make_machine("older", class_name="small")
    stage.user.delete(MachineObject, "older")
    stage.clock.advance(timedelta(hours=1))
    stage.machine()
    stage.cluster.watch.rewind(timedelta(hours=3))
    assert [each.name for each in stage.cluster.machines()] == ["old"]


def test_a_watch_can_be_deaf_mute_or_blind_until_a_list() -> None:
    """Lost events show nothing, untold ones are readable all the same, and hidden objects are in no list."""
    stage = Stage()
    stage.cluster.watch.deaf = True
    stage.user.make_machine("lost", class_name="small")
    assert list(stage.cluster.machines()) == []
    stage.cluster.watch.deaf, stage.cluster.watch.mute = False, True
    stage.user.make_machine("untold", class_name="small")
    assert [each.name for each in stage.cluster.machines()] == ["untold"]
    assert not stage.heard
    stage.cluster.watch.mute, stage.cluster.watch.hidden = False, [(Kind.MACHINE, "untold"), Kind.NODE]
    stage.user.make_node("hidden")
    stage.cluster.relist()
    assert [each.name for each in stage.cluster.machines()] == ["lost"]
    assert {(each.name, each.deleted) for each in stage.heard} == {("lost", False), ("untold", True)}


def test_an_api_server_that_is_away_lists_nothing_and_takes_nothing() -> None:
    """One that was listed before stays as it was read; back again, everything is told."""
    stage = Stage()
    machine = stage.machine()
    stage.cluster.away = True
    stage.user.make_machine("new", class_name="small")
    with pytest.raises(ClusterUnavailableError):
        stage.cluster.patch_machine(machine, MachinePatch(labels={"a": "b"}))
    assert (stage.cluster.synced(), len(stage.cluster.machines())) == (True, 1)
    stage.cluster.stop()
    stage.cluster.start(stage.heard.append)
    assert (stage.cluster.synced(), len(stage.cluster.machines())) == (False, 0)
    stage.cluster.away = False
    assert (stage.cluster.synced(), len(stage.cluster.machines())) == (True, 2)


def test_an_odd_machine_and_a_held_node_stay_as_they_are() -> None:
    """The one refuses every change but the end of its finalizer, the other accepts its deletion and stays."""
    stage = Stage()
    machine = stage.machine(finalizers=(MACHINE_FINALIZER,))
    stage.cluster.odd["m"] = ObjectRefusedError("too large")
    with pytest.raises(ObjectRefusedError):
        stage.cluster.write_status(machine, STATUS)
    stage.cluster.drop_finalizer(machine)
    left = stage.user.machine("m")
    assert left
    assert left.finalizers == ()
    node = stage.user.make_node("n")
    stage.cluster.held_nodes.add("n")
    stage.cluster.delete_node(node)
    assert stage.user.node("n") == node
