"""The cluster port over the Kubernetes API: caches answer reads, and one request makes a write."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from engine.clock import Clock
from engine.cluster import objects, paths
from engine.cluster.api import ApiServer, Writer
from engine.cluster.cache import Cache, Change
from engine.cluster.connect import ApiServers, ClusterOptions, connect
from engine.cluster.events import Announcer
from engine.cluster.machines import MachineWrites
from engine.cluster.nodes import Nodes, node_cache
from engine.cluster.pace import TokenBucket, WriteCount, WriteListener
from engine.cluster.protection import Protection
from engine.cluster.reflector import Reflector, Source
from engine.cluster.resource import Resource
from engine.cluster.secrets import Secrets
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
from engine.ports.cluster import Kind, MachineEvent, MachinePatch, ObjectChange

STOP_SPAN = timedelta(seconds=5)  # The watches are cut, so their threads end at once; a listener may take a moment.


def open_cluster(options: ClusterOptions, *, clock: Clock, on_write: WriteListener | None = None) -> "KubeCluster":
    """Answer the cluster that the options name; nothing is asked of it before `start`.

    Raises ConfigurationError when the options cannot be used.
    """
    return KubeCluster(connect(options, clock=clock), options=options, clock=clock, on_write=on_write)


class KubeCluster:
    """The port over one or two API servers; its promises are written at the port."""

    def __init__(
        self, servers: ApiServers, *, options: ClusterOptions, clock: Clock, on_write: WriteListener | None = None
    ) -> None:
        self.servers = servers
        """For the lease and the checks, which need no cache."""
        self.count = WriteCount(on_write)
        """Counts every write, by verb and resource."""
        self._options = options
        self._clock = clock
        self._listener: Callable[[ObjectChange], None] = lambda _change: None
        self._machine_cache: Cache[MachineObject] = Cache()
        self._class_cache: Cache[ClassObject] = Cache()
        self._secret_cache: Cache[SecretObject] = Cache()
        self._node_cache = node_cache()
        self._build_writes()
        self._reflectors = self._build_reflectors()

    @property
    def has_target(self) -> bool:
        """Whether there is a target cluster."""
        return self.servers.target is not None

    @property
    def unreadable(self) -> Sequence[tuple[Kind, str]]:
        """Kind and name of objects that are there but cannot be read; their machines must not be taken for gone."""
        return [(kind, name) for kind, reflector in self._reflectors.items() for name in sorted(reflector.unreadable)]

    @property
    def events_dropped(self) -> int:
        """How many Kubernetes Events could not be written."""
        return self._announcer.dropped

    @property
    def writes(self) -> Mapping[tuple[str, str], int]:
        """How many writes were sent so far, by verb and resource."""
        return self.count.snapshot()

    def start(self, listener: Callable[[ObjectChange], None]) -> None:
        """Begin to list and watch."""
        self._listener = listener
        self._announcer.start()
        for reflector in self._reflectors.values():
            reflector.start()

    def stop(self) -> None:
        """End the watches and the threads."""
        for reflector in self._reflectors.values():
            reflector.stop()
        self._announcer.stop()
        for reflector in self._reflectors.values():
            reflector.join(STOP_SPAN)
        self.servers.close()

    def synced(self) -> bool:
        """Answer whether every kind was listed completely at least once."""
        return all(reflector.synced.is_set() for reflector in self._reflectors.values())

    def blind_for(self) -> timedelta:
        """Answer for how long the blindest watch has heard nothing; in health it stays under a minute."""
        return max(reflector.blind_for() for reflector in self._reflectors.values())

    def machine(self, uid: MachineUid) -> MachineObject | None:
        """Answer the Machine with this uid."""
        return self._machine_cache.find(uid)

    def machine_named(self, name: str) -> MachineObject | None:
        """Answer the Machine of this name."""
        return self._machine_cache.get(name)

    def machines(self) -> Sequence[MachineObject]:
        """Answer every Machine."""
        return self._machine_cache.all()

    def machine_class(self, name: str) -> ClassObject | None:
        """Answer the MachineClass of this name."""
        return self._class_cache.get(name)

    def machine_classes(self) -> Sequence[ClassObject]:
        """Answer every MachineClass."""
        return self._class_cache.all()

    def secret(self, reference: SecretReference) -> SecretObject | None:
        """Answer the Secret; asks the API server the first time that a class is seen to name it."""
        return self._secrets.get(reference)

    def secrets(self) -> Sequence[SecretObject]:
        """Answer every Secret that carries our finalizer or that a MachineClass names."""
        return self._secrets.all()

    def node(self, *, name: str, device_suffix: str) -> NodeObject | None:
        """Answer the Node of this name or else of this device; None without a target."""
        return self._nodes.find(name=name, device_suffix=device_suffix)

    def patch_machine(self, machine: MachineObject, patch: MachinePatch) -> MachineObject:
        """Change metadata or `spec.providerID` of exactly this Machine."""
        return self._machine_writes.patch(machine, patch)

    def write_status(self, machine: MachineObject, status: MachineStatus) -> MachineObject:
        """Make the status of exactly this Machine say this."""
        return self._machine_writes.write_status(machine, status)

    def drop_finalizer(self, machine: MachineObject) -> None:
        """Take our finalizer off exactly this Machine."""
        self._machine_writes.drop_finalizer(machine)

    def protect_class(self, class_object: ClassObject, *, protected: bool) -> None:
        """Put our finalizer on the MachineClass, or take it off."""
        self._class_protection.put(class_object) if protected else self._class_protection.take_off(class_object)

    def protect_secret(self, secret: SecretObject, *, protected: bool) -> None:
        """Put our finalizer on the Secret, or take it off."""
        self._secret_protection.put(secret) if protected else self._secret_protection.take_off(secret)

    def delete_node(self, node: NodeObject) -> None:
        """Ask for exactly this Node to be deleted."""
        self._nodes.delete(node)

    def announce(self, event: MachineEvent) -> None:
        """Write a Kubernetes Event soon."""
        self._announcer.announce(event)

    def _build_writes(self) -> None:
        namespace, control = self._options.namespace, self.servers.control
        writer = self._writer(control)
        secret_path = paths.secrets(namespace)
        self._secrets = Secrets(
            namespace=namespace,
            classes=self._class_cache,
            fetch=lambda name: control.call("GET", f"{secret_path}/{name}"),
            cache=self._secret_cache,
        )
        machines = Resource(
            name="machines",
            path=paths.machines(namespace),
            read=objects.read_machine,
            api=control,
            writer=writer,
            cache=self._machine_cache,
        )
        classes = Resource(
            name="machineclasses",
            path=paths.machine_classes(namespace),
            read=objects.read_class,
            api=control,
            writer=writer,
            cache=self._class_cache,
        )
        secrets = Resource(
            name="secrets",
            path=secret_path,
            read=self._secrets.read,
            api=control,
            writer=writer,
            cache=self._secret_cache,
        )
        self._machine_writes = MachineWrites(machines, target=self.has_target)
        self._class_protection = Protection(classes, finalizer=MACHINE_FINALIZER)
        self._secret_protection = Protection(secrets, finalizer=SECRET_FINALIZER)
        self._announcer = Announcer(writer, namespace=namespace, clock=self._clock)
        self._nodes = Nodes(
            cache=self._node_cache, writer=self._writer(self.servers.target) if self.servers.target else writer
        )

    def _build_reflectors(self) -> dict[Kind, Reflector[Any]]:
        namespace, control, target = self._options.namespace, self.servers.control, self.servers.target
        # Classes first: which Secrets keep their data depends on them.
        reflectors: dict[Kind, Reflector[Any]] = {
            Kind.CLASS: self._reflector(
                Source(kind=Kind.CLASS, path=paths.machine_classes(namespace), read=objects.read_class),
                control,
                self._class_cache,
            ),
            Kind.MACHINE: self._reflector(
                Source(kind=Kind.MACHINE, path=paths.machines(namespace), read=objects.read_machine),
                control,
                self._machine_cache,
            ),
            Kind.SECRET: self._reflector(
                Source(kind=Kind.SECRET, path=paths.secrets(namespace), read=self._secrets.read),
                control,
                self._secret_cache,
            ),
        }
        if target:
            source = Source(kind=Kind.NODE, path=paths.NODES, read=objects.read_node)
            reflectors[Kind.NODE] = self._reflector(source, target, self._node_cache)
        return reflectors

    def _reflector(self, source: Source[Any], api: ApiServer, cache: Cache[Any]) -> Reflector[Any]:
        return Reflector(source, api=api, cache=cache, clock=self._clock, tell=self._tell)

    def _writer(self, api: ApiServer) -> Writer:
        pace = TokenBucket(qps=self._options.qps, burst=self._options.burst, clock=self._clock)
        return Writer(api, pace=pace, count=self.count)

    def _tell(self, kind: Kind, change: Change) -> None:
        namespace = "" if kind is Kind.NODE else self._options.namespace
        self._listener(ObjectChange(kind=kind, namespace=namespace, name=change.name, deleted=change.deleted))
