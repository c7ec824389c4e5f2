"""Stages for the live tests: one for each test, or one with a controller for all tests of a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.programs import ControllerProcess
from tests.acceptance.stage import Place
from tests.contract.stores import postgres_server, postgres_url
from tests.controlplane.plane import ControlPlane
from tests.live.stage import LiveStage

__all__ = ["postgres_server", "postgres_url"]


@contextmanager
def live_stage(controlplane: ControlPlane, binaries: Path, folder: Path) -> Iterator[LiveStage]:
    """A stage in a namespace of its own."""
    admin, namespace = controlplane.kubeconfig(), controlplane.make_namespace()
    place = Place(
        kubectl_binary=binaries / "kubectl", kubeconfig=admin, controller_kubeconfig=admin, namespace=namespace
    )
    with LiveStage(place, folder=folder) as stage:
        yield stage
    controlplane.drop_namespace(namespace)


@pytest.fixture
def stage(controlplane: ControlPlane, controlplane_binaries: Path, tmp_path: Path) -> Iterator[LiveStage]:
    """A world for one test."""
    with live_stage(controlplane, controlplane_binaries, tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def scene(
    controlplane: ControlPlane, controlplane_binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveStage]:
    """A world for all tests of a file."""
    with live_stage(controlplane, controlplane_binaries, tmp_path_factory.mktemp("scene")) as stage:
        yield stage


@pytest.fixture(scope="module")
def controller(scene: LiveStage) -> ControllerProcess:
    """The one controller of the scene; it runs."""
    return scene.controller().start()
