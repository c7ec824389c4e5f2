"""A real control plane for every test that asks for one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.controlplane import build

if TYPE_CHECKING:
    from tests.controlplane.plane import ControlPlane

# Test code that is shared asserts too. It must be named before anybody imports it, hence here.
pytest.register_assert_rewrite("tests.contract", "tests.acceptance.stage", "tests.acceptance.programs")

CRDS = Path(__file__).resolve().parent.parent / "kubernetes" / "crds"
MISSING = "the control plane's binaries are not built; run `make controlplane`"


@pytest.fixture(scope="session")
def controlplane_binaries() -> Path:
    """The folder of etcd, kube-apiserver, kube-controller-manager, kubectl and MCM; nothing is built here."""
    folder = build.locate()
    if folder is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return folder


@pytest.fixture(scope="session")
def controlplane(controlplane_binaries: Path) -> "Iterator[ControlPlane]":
    """A control plane that knows our definitions, shared by all tests of one process."""
    # Its imports are not needed by the many tests that start nothing.
    from tests.controlplane.plane import ControlPlane

    with ControlPlane(controlplane_binaries, crds=CRDS) as plane:
        yield plane


@pytest.fixture
def control_namespace(controlplane: "ControlPlane") -> Iterator[str]:
    """A namespace of the control plane that no other test uses."""
    name = controlplane.make_namespace()
    yield name
    controlplane.drop_namespace(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which promise each known wrong behaviour broke, where, and after how many worlds; if any was tried."""
    passed = terminalreporter.stats.get("passed", [])
    rows = [value for report in passed for name, value in report.user_properties if name == "mutation"]
    if rows:
        terminalreporter.section("wrong behaviours, and what catches each")
    for wrong, promise, words, hunt, worlds in sorted(rows):
        terminalreporter.write_line(f"{wrong[:58]:<58} {promise:<6}{worlds:>3} worlds  {hunt[:42]:<42}  {words}")
