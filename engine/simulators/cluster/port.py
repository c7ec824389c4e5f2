"""What the engine sees of a simulated cluster: the `Cluster` port, with switches for what goes wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from engine.clock import Clock
from engine.cluster.nodes import device_of, suffix_of
from engine.domain.ids import MachineUid
from engine.domain.phase import MachineStatus
from engine.domain.wanted import (
    MACHINE_FINALIZER,
    SECRET_FINALIZER,
    ClassObject,
    MachineObject,
    NodeObject,
    SecretObject,
    SecretReference,
)
from engine.errors import ClusterError
from engine.ports.cluster import (
    Cluster,
    ClusterUnavailableError,
    ConflictError,
    Kind,
    MachineEvent,
    MachinePatch,
    ObjectChange,
    ObjectGoneError,
    ObjectRefusedError,
)
from engine.simulators.cluster.shelf import Shelf, T
from engine.simulators.cluster.user import ClusterUser
from engine.simulators.cluster.watch import Answer, Watch
from engine.simulators.seed import Seed

Protected = TypeVar("Protected", ClassObject, SecretObject)


class SimulatedCluster(Cluster):
    """A control cluster and a target cluster in memory; `user` is everybody else who uses them."""

    def __init__(self, *, clock: Clock, seed: Seed, namespace: str = "shoot", target: bool = True) -> None:
        self._shelf = Shelf(clock=clock, seed=seed.child("objects"), namespace=namespace)
        self._target = target
        self._started = self._listed = self._away = False
        self.user = ClusterUser(self._shelf, clock)
        self.refusing: ClusterError | None = None
        """Raised by every write in the place of its effect."""
        self.odd: dict[str, ClusterError] = {}
        """Raised by every change of the Machine of this name, but for the removal of its finalizer."""
        self.held_nodes: set[str] = set()
        """Nodes that somebody else's finalizer holds: their deletion is accepted, and they stay."""
        self.writes: Counter[str] = Counter()
        """Writes that were asked for, by verb."""
        self.blurred: list[tuple[Kind, str]] = []
        """What is there and cannot be read."""
        self.events: dict[str, MachineEvent] = {}
        """Events that were announced, by key."""

    @property
    def watch(self) -> Watch:
        """The watches, with their switches; `relist` and `away` are here, because they need more than a watch."""
        return self._shelf.watch

    @property
    def lag(self) -> timedelta:
        """How long the changes of others take to become readable."""
        return self._shelf.watch.lag

    @lag.setter
    def lag(self, span: timedelta) -> None:
        self._shelf.watch.lag = span

    def deliver(self) -> None:
        """Let the watches show what has been under way long enough."""
        self._shelf.watch.deliver()

    def relist(self) -> None:
        """Have the watches begin anew, with a list of everything."""
        self._shelf.relist()

    @property
    def away(self) -> bool:
        """Whether the API server cannot be reached: nothing is listed, and every write fails."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = self._shelf.watch.deaf = away
        if self._started and not away:
            self._listed = True
            self._shelf.relist()

    @property
    def has_target(self) -> bool:
        """Whether Nodes exist to be awaited."""
        return self._target

    def start(self, listener: Callable[[ObjectChange], None]) -> None:
        """List everything anew, and tell the listener of it and of each change that follows."""
        self._shelf.listener = listener
        self._started = True
        if not self._away:
            self._listed = True
            self._shelf.relist()

    def stop(self) -> None:
        """Tell nobody anything more."""
        self._started = self._listed = False
        self._shelf.listener = lambda _change: None
        self._shelf.watch.forget()

    def synced(self) -> bool:
        """Answer whether everything was listed."""
        return self._listed

    @property
    def unreadable(self) -> Sequence[tuple[Kind, str]]:
        """Answer what cannot be read."""
        return self.blurred

    def blind_for(self) -> timedelta:
        """Answer zero: these watches never go blind."""
        return timedelta(0)

    def machine(self, uid: MachineUid) -> MachineObject | None:
        """Answer the Machine with this uid."""
        return self._shelf.shown_by_key(MachineObject, uid)

    def machine_named(self, name: str) -> MachineObject | None:
        """Answer the Machine of this name."""
        return self._shelf.shown(MachineObject, name)

    def machines(self) -> Sequence[MachineObject]:
        """Answer every Machine."""
        return self._shelf.all_shown(MachineObject)

    def machine_class(self, name: str) -> ClassObject | None:
        """Answer the MachineClass of this name."""
        return self._shelf.shown(ClassObject, name)

    def machine_classes(self) -> Sequence[ClassObject]:
        """Answer every MachineClass."""
        return self._shelf.all_shown(ClassObject)

    def secret(self, reference: SecretReference) -> SecretObject | None:
        """Answer the Secret; there is no other namespace than ours."""
        ours = reference.namespace in {"", self._shelf.namespace}
        return self._shelf.shown(SecretObject, reference.name) if ours else None

    def secrets(self) -> Sequence[SecretObject]:
        """Answer every Secret that carries our finalizer or that a MachineClass names."""
        named = {
            reference.name
            for each in self.machine_classes()
            for reference in (each.secret, each.credentials_secret)
            if reference
        }
        held = self._shelf.all_shown(SecretObject)
        return [each for each in held if SECRET_FINALIZER in each.finalizers or each.name in named]

    def node(self, *, name: str, device_suffix: str) -> NodeObject | None:
        """Answer the Node of this name, else the one of this device."""
        if not self._target:
            return None
        named, suffix = self._shelf.shown(NodeObject, name), device_of(device_suffix)
        if named and (not suffix or suffix_of(named) in {"", suffix}):
            return named
        return self._shelf.shown_by_key(NodeObject, suffix) if suffix else None

    def patch_machine(self, machine: MachineObject, patch: MachinePatch) -> MachineObject:
        """Change what the patch names, and nothing else."""
        held = self._exactly("patch_machine", machine)
        finalizers, answer = held.finalizers, Answer.OPEN
        if patch.add_finalizer and MACHINE_FINALIZER not in finalizers:
            if finalizers != machine.finalizers:
                self._shelf.answer(held)
                raise ConflictError(f"machine {machine.name}: its finalizers changed since it was read")
            if held.deletion_requested_at:
                raise ObjectRefusedError(f"machine {machine.name}: an object that is deleted takes no new finalizer")
            finalizers, answer = (*finalizers, MACHINE_FINALIZER), self._guarded(held)
        after = replace(
            held,
            finalizers=finalizers,
            labels={**held.labels, **patch.labels},
            annotations={**held.annotations, **patch.annotations},
            provider_id=held.provider_id if patch.provider_id is None else patch.provider_id,
        )
        return self._shelf.answer(held) if after == held else self._shelf.put(after, answer)

    def write_status(self, machine: MachineObject, status: MachineStatus) -> MachineObject:
        """Make the status say this; conditions are ours with a target cluster, addresses without."""
        held = self._exactly("write_status", machine)
        before = held.status
        if self._target:
            status = replace(status, addresses=before.addresses if before else ())
        else:
            status = replace(status, conditions=before.conditions if before else ())
        if status == before:
            return self._shelf.answer(held)
        return self._shelf.put(held, self._guarded(held), status=status)

    def drop_finalizer(self, machine: MachineObject) -> None:
        """Take our finalizer off, if the Machine is still as it was read."""
        self._begin("drop_finalizer")
        held = self._shelf.true(MachineObject, machine.name)
        if held is None or held.uid != machine.uid or MACHINE_FINALIZER not in held.finalizers:
            return
        if held.resource_version != machine.resource_version:
            self._shelf.answer(held)
            raise ConflictError(f"machine {machine.name}: it changed since it was read")
        left = tuple(each for each in held.finalizers if each != MACHINE_FINALIZER)
        self._shelf.settle(replace(held, finalizers=left), Answer.GUARDED)

    def protect_class(self, class_object: ClassObject, *, protected: bool) -> None:
        """Put our finalizer on the MachineClass, or take it off."""
        self._begin("protect_class")
        self._protect(class_object, MACHINE_FINALIZER, protected=protected)

    def protect_secret(self, secret: SecretObject, *, protected: bool) -> None:
        """Put our finalizer on the Secret, or take it off."""
        self._begin("protect_secret")
        self._protect(secret, SECRET_FINALIZER, protected=protected)

    def delete_node(self, node: NodeObject) -> None:
        """Have exactly this Node deleted."""
        self._begin("delete_node")
        held = self._shelf.true(NodeObject, node.name)
        if held and held.uid == node.uid and node.name not in self.held_nodes:
            self._shelf.remove(held)

    def announce(self, event: MachineEvent) -> None:
        """Keep the event; the same key again changes nothing."""
        self.events.setdefault(event.key, event)

    def _begin(self, verb: str) -> None:
        self.writes[verb] += 1
        if self._away:
            raise ClusterUnavailableError(f"{verb}: the API server cannot be reached")
        if self.refusing:
            raise self.refusing

    def _exactly(self, verb: str, machine: MachineObject) -> MachineObject:
        self._begin(verb)
        if machine.name in self.odd:
            raise self.odd[machine.name]
        held = self._shelf.true(MachineObject, machine.name)
        if held is None or held.uid != machine.uid:
            raise ObjectGoneError(f"machine {machine.name}: it is gone, or another one has its name")
        return held

    def _guarded(self, held: T) -> Answer:
        """A write that names a version reads the newest first, if that is not the one it was shown."""
        self._shelf.answer(held)
        return Answer.GUARDED

    def _protect(self, wanted: Protected, finalizer: str, *, protected: bool) -> None:
        held = self._shelf.true(type(wanted), wanted.name)
        if held is None or held.uid != wanted.uid:
            if protected:
                raise ObjectGoneError(f"{wanted.name}: it is gone, or another one has its name")
            return
        if protected is (finalizer in held.finalizers):
            self._shelf.answer(held)
            return
        others: tuple[str, ...] = tuple(each for each in held.finalizers if each != finalizer)
        finalizers = (*others, finalizer) if protected else others
        self._shelf.settle(replace(held, finalizers=finalizers), self._guarded(held))
