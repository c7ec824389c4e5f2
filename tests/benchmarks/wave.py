"""One wave of N machines on the real API server with the simulated cloud: how long, how many calls, what it costs.

`make bench N=1000`. Compare ratios within one run of one machine, never absolute times of two machines. The Go
controller's figures were measured on two cores with boots of two seconds (the contract's section 14).
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import urllib3
from rich.console import Console
from rich.table import Table

from engine.resources import manifests_path
from tests.benchmarks.wire import Wire
from tests.controlplane import build
from tests.controlplane.plane import ControlPlane

API = "/apis/machine.sapcloud.io/v1alpha1/namespaces/default"
PATIENCE_SECONDS = 600
CREATORS = 8  # threads that make the Machines; the API server is the limit


@dataclass
class Stage:
    """Where every Machine stands, as a watcher sees it."""

    wanted: int
    running: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def follow(self, wire: Wire) -> None:
        """List and watch for ever; an API server under load cuts the watches of those who read slowly."""
        while True:
            listed = wire.get(f"{API}/machines")
            there = {each["metadata"]["name"] for each in listed["items"]}
            for each in listed["items"]:
                self._see("ADDED", each)
            for name in set(self.running) - there:
                self._see("DELETED", {"metadata": {"name": name}})
            with suppress(urllib3.exceptions.HTTPError):
                for event in wire.watch(f"{API}/machines", listed["metadata"]["resourceVersion"]):
                    if event["type"] == "ERROR":
                        break
                    self._see(event["type"], event["object"])

    def _see(self, kind: str, machine: dict[str, Any]) -> None:
        name, at = machine["metadata"]["name"], time.monotonic()
        phase = machine.get("status", {}).get("currentStatus", {}).get("phase")
        with self.changed:
            if kind == "DELETED":
                self.gone.setdefault(name, at)
            elif phase == "Running":
                self.running.setdefault(name, at)
            self.changed.notify_all()

    def wait(self, reached: dict[str, float]) -> None:
        """Return when all machines are there; raises when that takes too long."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(reached) >= self.wanted, PATIENCE_SECONDS):
                raise TimeoutError(f"only {len(reached)} of {self.wanted} machines after {PATIENCE_SECONDS} s")


@dataclass(frozen=True)
class Figures:
    """What a wave cost."""

    machines: int
    running_seconds: float
    running_p50: float
    running_p99: float
    gone_seconds: float
    metal_calls: dict[str, int]
    kubernetes_writes: dict[str, int]
    cpu_seconds: float
    peak_megabytes: float
    billing_left: int


def main() -> None:
    """Run the wave and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    binaries = build.ensure()
    with tempfile.TemporaryDirectory() as folder, ControlPlane(binaries, crds=manifests_path() / "crds") as plane:
        figures = measure(plane, Path(folder), given.machines)
    if given.json:
        print(json.dumps(figures.__dict__, indent=2))
    else:
        show(figures)


def measure(plane: ControlPlane, folder: Path, count: int) -> Figures:
    """Answer the figures of one wave."""
    kubeconfig = plane.kubeconfig()
    wire = Wire(kubeconfig)
    with _cloud(kubeconfig) as cloud, _controller(kubeconfig, folder, cloud) as (process, port):
        plane.kubectl("apply", "-f", str(manifests_path() / "machine-class.yaml"))
        plane.kubectl("apply", "-f", str(manifests_path() / "secret.yaml"))
        stage = Stage(count)
        threading.Thread(target=stage.follow, args=(Wire(kubeconfig),), daemon=True).start()
        began = time.monotonic()
        _create(wire, count)
        stage.wait(stage.running)
        served = time.monotonic()
        each = sorted(at - began for at in stage.running.values())
        print(f"{count} machines Running after {served - began:.1f} s", file=sys.stderr)
        deleting = time.monotonic()
        wire.delete(f"{API}/machines")
        stage.wait(stage.gone)
        print(f"{count} machines gone after {time.monotonic() - deleting:.1f} s", file=sys.stderr)
        writes = _writes(port)
        truth = _end(cloud)
        cpu = process.cpu_times()
        return Figures(
            machines=count,
            running_seconds=served - began,
            running_p50=statistics.median(each),
            running_p99=each[min(len(each) - 1, int(len(each) * 0.99))],
            gone_seconds=max(stage.gone.values()) - deleting,
            metal_calls=truth["calls"],
            kubernetes_writes=writes,
            cpu_seconds=cpu.user + cpu.system,
            peak_megabytes=_peak(process),
            billing_left=truth["billing"],
        )


def show(figures: Figures) -> None:
    """Print the figures beside the Go controller's."""
    count = figures.machines
    table = Table(title=f"A wave of {count} machines, boot 2 s", title_justify="left")
    for title in ("figure", "here", "the Go controller, 1,000 machines"):
        table.add_column(title)
    writes = {name: each for name, each in figures.kubernetes_writes.items() if "leases" not in name}
    table.add_row("all Running", f"{figures.running_seconds:.1f} s", "35.4 s")
    table.add_row("  one of them, p50 / p99", f"{figures.running_p50:.1f} / {figures.running_p99:.1f} s", "")
    table.add_row("all gone", f"{figures.gone_seconds:.1f} s", "34.6 s")
    table.add_row("Metal calls per machine", f"{sum(figures.metal_calls.values()) / count:.2f}", "5.24")
    table.add_row("  of them", _each(figures.metal_calls, count), "")
    table.add_row("Kubernetes writes per machine", f"{sum(writes.values()) / count:.2f}", "about 15")
    table.add_row("  of them", _each(writes, count), "")
    table.add_row("CPU per machine", f"{1000 * figures.cpu_seconds / count:.1f} ms", "21 ms")
    table.add_row("peak memory", f"{figures.peak_megabytes:.0f} MB", "67 MB")
    table.add_row("servers left billing", str(figures.billing_left), "0")
    Console().print(table)


def _each(counts: dict[str, int], count: int) -> str:
    return ", ".join(f"{name} {value / count:.2f}" for name, value in sorted(counts.items()) if value)


def _create(wire: Wire, count: int) -> None:
    def one(number: int) -> None:
        body = {
            "apiVersion": "machine.sapcloud.io/v1alpha1",
            "kind": "Machine",
            "metadata": {"name": f"wave-{number:05d}", "labels": {"name": "wave"}},
            "spec": {"class": {"kind": "MachineClass", "name": "plain"}},
        }
        wire.post(f"{API}/machines", body)

    with ThreadPoolExecutor(CREATORS) as creators:
        list(creators.map(one, range(count)))


@contextmanager
def _cloud(kubeconfig: Path) -> Iterator[Any]:
    command = [sys.executable, "-m", "tests.benchmarks.cloud", "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.url = process.stdout.readline().strip()  # type: ignore[attr-defined]  # rides along
        try:
            yield process
        finally:
            process.kill()


def _end(cloud: Any) -> dict[str, Any]:
    out, _ = cloud.communicate("")
    truth: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return truth


@contextmanager
def _controller(kubeconfig: Path, folder: Path, cloud: Any) -> Iterator[tuple[psutil.Process, int]]:
    log = folder / "controller.log"
    command = [
        *(sys.executable, "-m", "engine", "serve"),
        *("--control-kubeconfig", str(kubeconfig), "--target-kubeconfig", str(kubeconfig)),
        *("--database", f"sqlite:///{folder / 'wave.db'}", "--metal-api-url", f"{cloud.url}/metal/v1"),
        *("--metal-calls-per-second", "2000", "--kube-api-qps", "2000", "--kube-api-burst", "4000"),
        *("--port", "0", "--address", "127.0.0.1", "--log-level", "INFO", "--log-format", "json"),
    ]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield psutil.Process(process.pid), _port(log)
        finally:
            process.terminate()


def _port(log: Path) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = re.search(r'"port": ?(\d+)', log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.1)
    raise TimeoutError(f"the controller does not say its port:\n{log.read_text()}")


def _writes(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    rows = re.findall(r'machine_engine_kubernetes_writes_total\{resource="([^"]+)",verb="([^"]+)"\} ([0-9.]+)', text)
    return {f"{verb} {resource}": int(float(value)) for resource, verb, value in rows}


def _peak(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else process.memory_info().rss / 1024 / 1024


if __name__ == "__main__":
    main()
