"""The port on its stage: a running API server, a user beside it, and Machines to begin with."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.domain.ids import MachineUid
from engine.domain.machine import NodeCondition
from engine.domain.phase import LastOperation, MachineStatus
from engine.domain.wanted import MachineObject, NodeObject
from engine.ports.cluster import Cluster, Kind, ObjectChange
from tests.contract.cluster_user import Json, User

WAIT_SECONDS_MAX = 20.0  # a fact that takes longer will not come
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
OTHER_FINALIZER = "example.org/other"
GO_NODE_FINALIZER = "node.machine.sapcloud.io/machine-controller"
DEVICE = "0a1b2c3d-0000-4000-8000-00000000000d"
PENDING = MachineStatus(
    phase="Pending",
    phase_at=AT,
    timeout_active=True,
    operation=LastOperation(type="Create", state="Processing", description="Creating machine", at=AT),
)
FAILED = MachineStatus(
    phase="Failed",
    phase_at=AT,
    operation=LastOperation(type="Create", state="Failed", description="no", at=AT, error_code="ResourceExhausted"),
)
CONDITION = NodeCondition(
    type="Ready", status="True", reason="KubeletReady", message="ok", last_transition_at=AT, last_heartbeat_at=AT
)


@dataclass
class Changes:
    """A listener that remembers and can be waited for."""

    seen: list[ObjectChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def __call__(self, change: ObjectChange) -> None:
        """Remember the change."""
        with self._changed:
            self.seen.append(change)
            self._changed.notify_all()

    def wait_for(self, kind: Kind, name: str, *, deleted: bool = False) -> ObjectChange:
        """The first such change, which may have come already."""

        def found() -> ObjectChange | None:
            wanted = (kind, name, deleted)
            return next((seen for seen in self.seen if (seen.kind, seen.name, seen.deleted) == wanted), None)

        with self._changed:
            assert self._changed.wait_for(found, WAIT_SECONDS_MAX), f"no change of {kind} {name} among {self.seen}"
        change = found()
        assert change
        return change

    def forget(self) -> None:
        """Earlier changes do not count any more."""
        with self._changed:
            self.seen.clear()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The port over a running API server, and a user of the same server."""

    cluster: Cluster
    user: User
    changes: Changes


def eventually(fact: Callable[[], object]) -> None:
    """The fact holds, now or soon."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not fact():
        assert time.monotonic() < until, "the fact did not come to hold"
        time.sleep(0.01)


def machine_of(stage: Stage, name: str = "m", *, finalizers: tuple[str, ...] = (), **more: Json) -> MachineObject:
    """A Machine that a user made and the cluster has seen."""
    made = stage.user.make_machine(name, finalizers=finalizers, **more)
    return seen(stage, made)


def seen(stage: Stage, made: Json) -> MachineObject:
    """The Machine as the cluster shows it once the watch has caught up."""
    meta = made["metadata"]

    def current() -> MachineObject | None:
        found = stage.cluster.machine(MachineUid(meta["uid"]))
        return found if found and int(found.resource_version) >= int(meta["resourceVersion"]) else None

    eventually(current)
    found = current()
    assert found
    return found


def node_of(stage: Stage, name: str = "n", *, provider_id: str = "", finalizers: tuple[str, ...] = ()) -> NodeObject:
    """A Node that a user made and the cluster has seen."""
    stage.user.make_node(name, provider_id=provider_id, finalizers=finalizers)
    full = stage.user.node_name(name)
    stage.changes.wait_for(Kind.NODE, full)
    found = stage.cluster.node(name=full, device_suffix="")
    assert found
    return found


def recreate(stage: Stage, name: str = "m") -> Json:
    """The Machine is gone, and another one has its name."""
    stage.user.patch("machines", name, {"metadata": {"finalizers": None}})
    stage.user.delete("machines", name)
    eventually(lambda: not stage.user.exists("machines", name))
    return stage.user.make_machine(name)
