"""The world beside the controller in a benchmark: simulated Metal over HTTP, and Nodes that join; its own process.

Prints its address when it serves, and one JSON line with its ground truth when its standard input ends.
"""

import argparse
import json
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from engine.clock import SystemClock
from engine.simulators.http import HttpServer
from engine.simulators.metal import MetalSettings, MetalSimulator
from engine.simulators.seed import Seed
from tests.benchmarks.wire import Wire

_LOOK_EVERY = timedelta(milliseconds=50)
_NODES = "/api/v1/nodes"


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--boot-seconds", type=float, default=2.0)
    given = parser.parse_args()
    clock = SystemClock()
    boot = timedelta(seconds=given.boot_seconds)
    settings = MetalSettings(
        queue_for=boot * 0.1, provision_for=boot * 0.9, deprovision_for=timedelta(seconds=1), per_page_max=100
    )
    metal = MetalSimulator(clock=clock, seed=Seed(1), settings=settings)
    stopping = threading.Event()
    with HttpServer(metal.handle) as server:
        joiner = threading.Thread(target=_join, args=(metal, Wire(given.kubeconfig), stopping), daemon=True)
        joiner.start()
        print(server.url, flush=True)
        sys.stdin.read()
        stopping.set()
        calls = {str(name): count for name, count in metal.journal.calls.items()}
        print(json.dumps({"calls": calls, "billing": len(metal.billing())}), flush=True)


def _join(metal: MetalSimulator, wire: Wire, stopping: threading.Event) -> None:
    joined: set[str] = set()
    while not stopping.wait(_LOOK_EVERY.total_seconds()):
        for device in metal.devices():
            if device.state == "active" and device.id not in joined:
                joined.add(device.id)
                wire.post(_NODES, _node(device.hostname, device.id))


def _node(name: str, device_id: str) -> dict[str, Any]:
    at = SystemClock().now().strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is ready"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"providerID": f"equinixmetal://{device_id}"},
        "status": {"conditions": [condition | {"lastHeartbeatTime": at, "lastTransitionTime": at}]},
    }


if __name__ == "__main__":
    main()
