"""The cluster's contract, on the embedded API server and on the real one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.cluster_contract", "tests.contract.cluster_user")

# After the line above, which must come first.
from engine.clock import SystemClock  # noqa: E402
from engine.cluster.connect import ClusterOptions  # noqa: E402
from engine.cluster.kube import open_cluster  # noqa: E402
from engine.simulators.http import HttpServer  # noqa: E402
from engine.simulators.kube import KubeSimulator  # noqa: E402
from engine.simulators.seed import Seed  # noqa: E402
from tests.contract.cluster_contract import ClusterContract, LonelyClusterContract  # noqa: E402
from tests.contract.cluster_user import Changes, Stage, User, eventually  # noqa: E402
from tests.controlplane.plane import ControlPlane  # noqa: E402


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
