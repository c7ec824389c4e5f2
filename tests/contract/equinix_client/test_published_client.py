"""The simulated Metal API as the published Python client sees it: every answer must parse, every refusal must fit."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.simulators.http import HttpServer
from engine.simulators.metal import API_KEY, PROJECT_ID, MetalSettings, MetalSimulator, ReservationSettings
from engine.simulators.seed import Seed

HERE = Path(__file__).parent
LOCK = HERE / "requirements.lock"
ENVIRONMENT = HERE.parents[2] / ".cache" / "equinix-client"
INSTALL_SECONDS_MAX = 300
WALK_SECONDS_MAX = 90

SETTINGS = MetalSettings(
    time_scale=200,  # a boot of 380 s takes 1.9 s, long enough to be caught provisioning
    capacity={"ty/c3.small.x86": 0},
    reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),),
)


@pytest.fixture(scope="session")
def client_python() -> Path:
    """Answer the Python of the client's own environment; it is made once for each lock file."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed"
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        _install(python)
        stamp.write_text(digest)
    return python


def _install(python: Path) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [*pip, "--require-hashes", "--requirement", str(LOCK)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False)
        if done.returncode:
            reason = f"the published client could not be installed: {(done.stderr.strip() or '-').splitlines()[-1]}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.mark.timeout(INSTALL_SECONDS_MAX + WALK_SECONDS_MAX)
def test_published_client_walks_through_the_api(client_python: Path) -> None:
    """The published client orders, lists, reads, changes and deletes devices, and understands each refusal."""
    metal = MetalSimulator(clock=SystemClock(), seed=Seed(1), settings=SETTINGS)
    with HttpServer(metal.handle) as server:
        walk = subprocess.run(
            [str(client_python), str(HERE / "walk.py"), server.url, API_KEY, PROJECT_ID],
            capture_output=True,
            text=True,
            timeout=WALK_SECONDS_MAX,
            check=False,
        )
    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert len(walk.stdout.splitlines()) > 30
    assert [device.hostname for device in metal.billing()] == ["reserved"]
