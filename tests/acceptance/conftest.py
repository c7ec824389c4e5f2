"""Stages for the acceptance tests, on the real control plane and on the embedded API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.simulators.http import HttpServer
from engine.simulators.kube import KubeSimulator
from engine.simulators.seed import Seed
from tests.acceptance.programs import ROOT
from tests.acceptance.stage import Place, Stage
from tests.controlplane.plane import ControlPlane

ACCOUNT = "system:serviceaccount:default:machine-engine"


@pytest.fixture
def real_place(controlplane: ControlPlane, controlplane_binaries: Path, control_namespace: str) -> Place:
    """A namespace of the real control plane."""
    admin = controlplane.kubeconfig()
    return Place(
        kubectl_binary=controlplane_binaries / "kubectl",
        kubeconfig=admin,
        controller_kubeconfig=admin,
        namespace=control_namespace,
    )


@pytest.fixture
def stage(real_place: Place, tmp_path: Path) -> Iterator[Stage]:
    """A world on the real control plane."""
    with Stage(real_place, folder=tmp_path) as stage:
        yield stage


@pytest.fixture
def shipped_place(controlplane: ControlPlane, controlplane_binaries: Path, tmp_path: Path) -> Place:
    """The real control plane's default namespace, where the controller has the rights that we ship and no others."""
    controlplane.kubectl("apply", "--kustomize", ROOT / "kubernetes" / "overlays" / "single-cluster")
    # A colon in a path separates two files for the Kubernetes client, and the account's name has some.
    kubeconfig = tmp_path / "account.kubeconfig"
    kubeconfig.write_bytes(controlplane.bind_user(ACCOUNT).read_bytes())
    return Place(
        kubectl_binary=controlplane_binaries / "kubectl",
        kubeconfig=controlplane.kubeconfig(),
        controller_kubeconfig=kubeconfig,
        namespace="default",
    )


@pytest.fixture
def embedded_place(controlplane_binaries: Path, tmp_path: Path) -> Iterator[Place]:
    """The default namespace of an embedded API server; only kubectl is real."""
    simulator = KubeSimulator(clock=SystemClock(), seed=Seed(1))
    with HttpServer(simulator.handle) as server:
        kubeconfig = tmp_path / "embedded.kubeconfig"
        kubeconfig.write_text(json.dumps(simulator.kubeconfig(server.url)), "utf-8")
        yield Place(
            kubectl_binary=controlplane_binaries / "kubectl",
            kubeconfig=kubeconfig,
            controller_kubeconfig=kubeconfig,
            namespace="default",
        )
        simulator.close()
