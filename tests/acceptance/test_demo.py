"""The demo world as its user meets it: a process that is started, watched, interrupted, killed and started again."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {"facilities-1", "plain-1", "reserved-1"}
REPLICAS = 3
PATIENCE_SECONDS = 60.0  # it takes about ten on an idle machine; a full one may be slow
LOOK_SECONDS = 0.1
MACHINES = "/apis/machine.sapcloud.io/v1alpha1/namespaces/default/machines"
DEPLOYMENTS = "/apis/machine.sapcloud.io/v1alpha1/namespaces/default/machinedeployments"

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
Fact = TypeVar("Fact")


class Demo:
    """One process of the demo, and what a user beside it can see and do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = start(folder)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Answer what the embedded API server answers."""
        config = yaml.safe_load((self.folder / "kubeconfig").read_text())
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/merge-patch+json"}
        request = Request(config["clusters"][0]["cluster"]["server"] + path, data, headers, method=method)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def cloud(self) -> list[dict[str, Any]]:
        """Answer every device that the simulated cloud remembers, with its own word on how it ended."""
        port = json.loads((self.folder / "world.json").read_text())["metal_port"]
        with urlopen(f"http://127.0.0.1:{port}/simulator/devices", timeout=10) as answer:
            devices: list[dict[str, Any]] = json.load(answer)["devices"]
        return devices

    def billing(self) -> dict[str, str]:
        """Answer the devices that cost money, hostname to id."""
        return {device["hostname"]: device["id"] for device in self.cloud() if device["ended_at"] is None}

    def phases(self) -> dict[str, str]:
        """Answer the phase of each Machine."""
        found = self.api("GET", MACHINES)["items"]
        return {
            machine["metadata"]["name"]: machine.get("status", {}).get("currentStatus", {}).get("phase", "")
            for machine in found
        }

    def running(self) -> dict[str, str] | None:
        """Answer all Machines when they all run and nobody is missing."""
        phases = self.phases()
        complete = phases.keys() >= SAMPLES and len(phases) == len(SAMPLES) + REPLICAS
        return phases if complete and set(phases.values()) == {"Running"} else None

    def printed(self) -> str:
        """Answer everything that the present process has written to its terminal."""
        return (self.folder / "printed").read_text()

    def await_printed(self, pattern: str) -> re.Match[str]:
        """Wait for it to be printed."""
        return self.await_fact(f"a line like {pattern}", lambda: re.search(pattern, self.printed(), re.MULTILINE))

    def await_running(self) -> dict[str, str]:
        """Wait until all Machines run, and answer them."""
        self.await_printed("^Try in another terminal")
        return self.await_fact("all machines Running", self.running)

    def await_fact(self, what: str, look: Callable[[], Fact | None]) -> Fact:
        """Look until there is something to see, and answer it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, f"the demo ended with {self.process.returncode}:\n{self.printed()}"
            fact = look()
            if fact:
                return fact
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"waited in vain for {what}:\n{self.printed()}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the signal and answer the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=15)

    def start_again(self) -> None:
        """Start the next process in the same folder."""
        self.process = start(self.folder)


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    with (folder / "printed").open("w") as output:
        return subprocess.Popen(command(folder), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True)


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "engine", "demo", "--plain", "--folder", str(folder)]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path / "world")
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def test_all_samples_become_active_and_each_transition_is_one_line(demo: Demo) -> None:
    """All samples get their devices, the reserved one a reserved one, and each line after the heading tells a step."""
    demo.await_printed(r" Active/healthy: ")

    phases = demo.await_running()

    assert len(phases) == len(SAMPLES) + REPLICAS
    assert demo.billing().keys() == phases.keys()
    lines = demo.await_printed(r"(?s)--database \S+\n(.*)")[1].splitlines()
    strange = [line for line in lines if not re.match(r"\d\d:\d\d:\d\d [a-z0-9-]+ [A-Z][a-z]+/[a-z-]+: \S", line)]
    assert not strange
    for name in phases:
        assert sum(f" {name} Provisioning/install: " in line for line in lines) == 1
    reservations = {device["hostname"]: device["reservation"] for device in demo.cloud()}
    assert str(reservations.pop("reserved-1")).startswith("7d1e0d2a-1111-4111-8111-")
    assert set(reservations.values()) == {None}


def test_interrupted_demo_goes_on_with_the_same_devices(demo: Demo) -> None:
    """After Ctrl-C the demo ends with success; the next start finds every device again and buys nothing."""
    demo.await_running()
    before = demo.billing()

    assert demo.stop() == 0
    demo.start_again()

    demo.await_running()
    demo.await_printed(rf" plain-1 Active/healthy: goes on with device {before['plain-1']}$")
    assert demo.billing() == before
    assert len(demo.cloud()) == len(before)


def test_killed_demo_loses_nothing_and_buys_nothing_twice(demo: Demo) -> None:
    """A kill between the orders and the joining costs nothing: each machine gets exactly one device."""
    demo.await_printed(r" Provisioning/install: ")

    assert demo.stop(signal.SIGKILL) == -signal.SIGKILL
    demo.start_again()

    phases = demo.await_running()
    assert demo.billing().keys() == phases.keys()
    assert len(demo.cloud()) == len(phases)


def test_deleting_everything_ends_every_bill(demo: Demo) -> None:
    """When all Machines and their deployments are deleted, no device is billed any more, and a restart keeps it so."""
    demo.await_running()

    demo.api("DELETE", DEPLOYMENTS)
    demo.api("DELETE", MACHINES)

    demo.await_fact("no Machine", lambda: not demo.phases())
    assert demo.billing() == {}
    assert demo.stop(signal.SIGTERM) == 0
    demo.start_again()
    demo.await_printed("^Try in another terminal")
    assert demo.phases() == {}


def test_replicas_follow_the_deployment(demo: Demo) -> None:
    """Scaling up buys, scaling down returns, a deleted replica is replaced, and the status says how many serve."""
    demo.await_running()
    path = f"{DEPLOYMENTS}/workers"

    def serving(wanted: int) -> bool:
        status = demo.api("GET", path).get("status", {})
        return bool(status.get("readyReplicas") == wanted == status.get("replicas"))

    demo.api("PATCH", f"{path}/scale", {"spec": {"replicas": 4}})
    demo.await_fact("four replicas", lambda: serving(4))
    victim = next(name for name in demo.phases() if name.startswith("workers-"))
    demo.api("DELETE", f"{MACHINES}/{victim}")
    demo.await_fact("a replacement", lambda: victim not in demo.phases() and serving(4))
    demo.api("PATCH", f"{path}/scale", {"spec": {"replicas": 1}})
    demo.await_fact("one replica", lambda: serving(1) and len(demo.phases()) == len(SAMPLES) + 1)

    assert demo.billing().keys() == demo.phases().keys()


def test_second_demo_in_the_same_folder_is_refused(demo: Demo) -> None:
    """A second demo says who has the folder and what to do, in one line, and leaves the first alone."""
    demo.await_printed(r" Pending/validate: ")

    second = subprocess.run(command(demo.folder), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert second.returncode == 2
    assert f"process {demo.process.pid}" in second.stderr
    assert "--folder" in second.stderr
    assert "Traceback" not in second.stderr
    demo.await_running()


def test_terminal_shows_a_picture_that_fits_and_is_left_as_it_was(tmp_path: Path) -> None:
    """On a small terminal the picture lives on the alternate screen, shows facts and machines, and goes with Ctrl-C.

    The folder has so long a name that its lines are folded, which leaves no room for everything.
    """
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    line = [*command(tmp_path / ("world-" * 15 + "s-end"))]
    line.remove("--plain")
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(line, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        try:
            # The signal may cut a picture in the middle, so a whole one is awaited before.
            shown = read_until(reader, "Active") + read_until(reader, "Ctrl-C stops")
            process.send_signal(signal.SIGINT)
            rest = read_until(reader, "Stopped.")
            assert process.wait(timeout=15) == 0
        finally:
            process.kill()
            os.close(reader)

    assert "\x1b[?1049h" in shown
    assert "\x1b[?1049l" in rest
    picture = shown[: shown.rindex("Ctrl-C stops")].split("\x1b[H")[-1]
    assert picture.count("\n") < 24
    for word in ("Billing now", "KUBECONFIG=", "NAME"):
        assert word in picture
    # Machines that serve make room for those that do not, so which ones are shown is a matter of the instant.
    assert re.search(r"(plain|facilities|reserved|workers)-\w+ +(\x1b\S+)?[A-Z][a-z]+", picture)


def read_until(reader: int, text: str) -> str:
    """Answer what comes out of the terminal until the text has come."""
    found, end = b"", time.monotonic() + PATIENCE_SECONDS
    while text.encode() not in found:
        assert time.monotonic() < end, f"waited in vain for {text}: {found[-3000:]!r}"
        if select.select([reader], [], [], LOOK_SECONDS)[0]:
            found += os.read(reader, 65536)
    return found.decode()


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_works_with_the_written_kubeconfig(demo: Demo) -> None:
    """The short names of the contract and its columns work with the kubectl at hand."""
    demo.await_running()

    def kubectl(*words: str) -> str:
        run = ["kubectl", "--kubeconfig", str(demo.folder / "kubeconfig"), *words]
        return subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout

    assert re.search(r"^plain-1\s+Running\s", kubectl("get", "mc"), re.MULTILINE)
    counts = r"^workers\s+3\s+3\s+3\s+3\s"  # the stand-in for MCM counts the replicas a moment after the last one runs
    demo.await_fact("all replicas counted", lambda: re.search(counts, kubectl("get", "mcd"), re.MULTILINE))
    assert re.search(r"^plain-1\s+Ready\s", kubectl("get", "nodes"), re.MULTILINE)
    assert "plain-1" in kubectl("delete", "mc", "plain-1")
    assert "plain-1" not in demo.billing()
