"""The cluster's contract, on the embedded API server and on the real one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster.checks import (
    Permission,
    check_start,
    control_permissions,
    missing_permissions,
    target_permissions,
)
from engine.cluster.connect import ClusterOptions
from engine.cluster.kube import KubeCluster, open_cluster
from engine.cluster.leases import LeaderElector
from engine.cluster.objects import read_machine
from engine.errors import ClusterError
from engine.ports.cluster import ClusterDeniedError, ClusterUnavailableError, Kind, MachinePatch
from engine.simulators.http import HttpServer
from engine.simulators.kube import KubeSimulator
from engine.simulators.seed import Seed
from tests.contract.cluster_contract import ClusterContract, LonelyClusterContract
from tests.contract.cluster_stage import Changes, Stage, eventually
from tests.contract.cluster_user import RefusedError, User
from tests.contract.cluster_write_contract import WriteContract
from tests.controlplane.plane import ControlPlane


@contextmanager
def opened(kubeconfig: Path, user: User, *, target: bool) -> Iterator[Stage]:
    """A cluster that has synced."""
    options = ClusterOptions(
        control_kubeconfig=str(kubeconfig),
        target_kubeconfig=str(kubeconfig) if target else "none",
        namespace=user.namespace,
        qps=1_000,
        burst=1_000,
    )
    user.make_machine("early")
    cluster, changes = open_cluster(options, clock=SystemClock()), Changes()
    assert not cluster.synced()
    cluster.start(changes)
    try:
        eventually(cluster.synced)
        yield Stage(cluster=cluster, user=user, changes=changes)
    finally:
        cluster.stop()
        user.close()


class OnEmbedded:
    """The embedded API server over HTTP."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[tuple[Path, User]]:
        """A kubeconfig, and a user with a namespace of its own."""
        simulator = KubeSimulator(clock=SystemClock(), seed=Seed(1))
        with HttpServer(simulator.handle) as server:
            kubeconfig = tmp_path / "kubeconfig"
            kubeconfig.write_text(json.dumps(simulator.kubeconfig(server.url)), "utf-8")
            user = User(kubeconfig, "shoot-a")
            user.install_crds()
            for name in ("elsewhere", "shoot-a"):
                User(kubeconfig, name).make_namespace()
            stranger = User(kubeconfig, "elsewhere")
            stranger.make_machine("stranger")
            stranger.make_secret("key", token="theirs")
            stranger.close()
            yield kubeconfig, user
            simulator.close()


class OnReal:
    """A real kube-apiserver."""

    @pytest.fixture
    def place(self, controlplane: ControlPlane, control_namespace: str) -> tuple[Path, User]:
        """A kubeconfig, and a user with a namespace of its own."""
        return controlplane.kubeconfig(), User(controlplane.kubeconfig(), control_namespace)


class WithTarget:
    """Control and target are the same cluster."""

    @pytest.fixture
    def stage(self, place: tuple[Path, User]) -> Iterator[Stage]:
        """The port, synced."""
        with opened(*place, target=True) as stage:
            yield stage


class WithoutTarget:
    """There is no target."""

    @pytest.fixture
    def lonely(self, place: tuple[Path, User]) -> Iterator[Stage]:
        """The port, synced."""
        with opened(*place, target=False) as stage:
            yield stage


class TestEmbedded(OnEmbedded, WithTarget, ClusterContract):
    """Every promise, before the embedded API server."""


class TestEmbeddedLonely(OnEmbedded, WithoutTarget, LonelyClusterContract):
    """Every promise without a target, before the embedded API server."""


@pytest.mark.controlplane
class TestReal(OnReal, WithTarget, ClusterContract):
    """Every promise, before a real API server."""


@pytest.mark.controlplane
class TestRealLonely(OnReal, WithoutTarget, LonelyClusterContract):
    """Every promise without a target, before a real API server."""


def rules(permissions: Sequence[Permission]) -> list[dict[str, list[str]]]:
    """The permissions as RBAC spells them."""
    return [
        {
            "apiGroups": [permission.group],
            "resources": ["/".join(filter(None, (permission.resource, permission.subresource)))],
            "verbs": [permission.verb],
            **({"resourceNames": [permission.name]} if permission.name else {}),
        }
        for permission in permissions
    ]


@pytest.mark.controlplane
class TestRealAccess:
    """What only a real API server can show: RBAC, outages, and the versions it really forgets."""

    @pytest.fixture
    def modest(self, controlplane: ControlPlane, control_namespace: str) -> Path:
        """A kubeconfig with exactly the permissions that the checks name."""
        name = f"engine-{control_namespace}"
        controlplane.make_user(name, rules(target_permissions()))
        return controlplane.make_user(name, rules(control_permissions(control_namespace)), namespace=control_namespace)

    def test_the_named_permissions_are_enough(
        self, controlplane: ControlPlane, modest: Path, control_namespace: str
    ) -> None:
        """A user who may do what the checks name, and nothing else, lives a whole life, lease and events included."""
        user = User(controlplane.kubeconfig(), control_namespace)
        with opened(modest, user, target=True) as stage:
            assert isinstance(stage.cluster, KubeCluster)
            check_start(stage.cluster.servers)
            assert missing_permissions(stage.cluster.servers, namespace=control_namespace) == []
            for test in (
                WriteContract.test_an_event_is_written_once,
                WriteContract.test_dropping_the_finalizer_lets_the_machine_go,
                WriteContract.test_a_class_is_protected_and_released,
                WriteContract.test_the_go_controllers_finalizer_does_not_hold_a_node,
            ):
                with suppress(RefusedError):
                    user.delete("machines", "m")
                with suppress(RefusedError):
                    user.delete("machineclasses", "small")
                stage.changes.forget()
                test(WriteContract(), stage)
            self._elect(stage.cluster, control_namespace)

    def _elect(self, cluster: KubeCluster, namespace: str) -> None:
        clock = SystemClock()
        electors = [
            LeaderElector(cluster.servers.control, namespace=namespace, identity=identity, clock=clock)
            for identity in ("a", "b")
        ]
        for elector in electors * 2:
            elector.try_once()
        assert [elector.is_leader() for elector in electors] == [True, False]

    def test_a_stranger_is_denied_and_told_what_is_missing(
        self, controlplane: ControlPlane, control_namespace: str
    ) -> None:
        """Without permissions nothing syncs, writes are denied, and the check lists all that is missing."""
        kubeconfig = controlplane.bind_user(f"stranger-{control_namespace}", namespace=control_namespace)
        options = ClusterOptions(target_kubeconfig=str(kubeconfig), namespace=control_namespace)
        cluster = open_cluster(options, clock=SystemClock())
        missing = missing_permissions(cluster.servers, namespace=control_namespace)
        assert len(missing) == len(control_permissions(control_namespace)) + len(target_permissions())
        made = User(controlplane.kubeconfig(), control_namespace).make_machine("m")
        with pytest.raises(ClusterDeniedError):
            cluster.patch_machine(read_machine(json.dumps(made).encode()), MachinePatch(labels={"a": "b"}))
        cluster.servers.close()

    def test_an_outage_loses_nothing(self, controlplane: ControlPlane, control_namespace: str) -> None:
        """The API server goes away and comes back: writes in between are unavailable, later changes are seen."""
        user = User(controlplane.kubeconfig(), control_namespace)
        with opened(controlplane.kubeconfig(), user, target=True) as stage:
            early = stage.cluster.machine_named("early")
            assert early
            controlplane.stop_apiserver()
            with pytest.raises(ClusterUnavailableError):
                stage.cluster.patch_machine(early, MachinePatch(labels={"a": "b"}))
            controlplane.start_apiserver()
            stage.changes.forget()
            user.delete("machines", "early")
            user.make_machine("late")
            stage.changes.wait_for(Kind.MACHINE, "early", deleted=True)
            stage.changes.wait_for(Kind.MACHINE, "late")


def test_a_cluster_without_our_definitions_is_refused(tmp_path: Path) -> None:
    """Starting on it is an error that says what to apply."""
    simulator = KubeSimulator(clock=SystemClock(), seed=Seed(1))
    with HttpServer(simulator.handle) as server:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(simulator.kubeconfig(server.url)), "utf-8")
        cluster = open_cluster(ClusterOptions(target_kubeconfig=str(kubeconfig)), clock=SystemClock())
        with pytest.raises(ClusterError, match="apply kubernetes/crds"):
            check_start(cluster.servers)
        User(kubeconfig, "default").install_crds()
        check_start(cluster.servers)
        cluster.servers.close()
    simulator.close()
