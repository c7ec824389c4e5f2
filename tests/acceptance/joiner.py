"""Servers that join: what a kubelet does on a device that came up, without the kubelet."""

import threading
from contextlib import suppress
from typing import Any

from urllib3.exceptions import HTTPError

from engine.simulators.metal import DeviceView, MetalSimulator
from tests.contract.cluster_user import MERGE, RefusedError, User

LOOK_SECONDS = 0.1
NODES = "/api/v1/nodes"
CONFLICT = 409
WHEN = "2026-01-01T00:00:00Z"  # Nobody judges heartbeats here.


class NodeJoiner:
    """Makes a Node, Ready, for every device that became active, as long as it runs."""

    def __init__(self, metal: MetalSimulator, user: User) -> None:
        self._metal = metal
        self._user = user
        self._stopping = threading.Event()
        self._joined: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="joiner", daemon=True)

    @property
    def nodes(self) -> set[str]:
        """The names of the Nodes that were made."""
        return set(self._joined.values())

    def start(self) -> None:
        """Begin to join."""
        self._thread.start()

    def stop(self) -> None:
        """No Node is made any more, and those that were are gone."""
        self._stopping.set()
        self._thread.join(timeout=10)
        for name in self.nodes:
            with suppress(RefusedError, HTTPError):
                self._user.request("DELETE", f"{NODES}/{name}")

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            # While the API server is away, a kubelet tries again.
            with suppress(HTTPError):
                for device in self._metal.devices():
                    if device.state == "active" and device.id not in self._joined:
                        self._join(device)

    def _join(self, device: DeviceView) -> None:
        node = _node(device)
        try:
            made = self._user.request("POST", NODES, node)
            if not made.get("status", {}).get("conditions"):
                # Some API servers take a status at its own address only.
                self._user.request(
                    "PATCH", f"{NODES}/{device.hostname}/status", {"status": node["status"]}, content=MERGE
                )
        except RefusedError as refused:
            if refused.status != CONFLICT:
                return
        self._joined[device.id] = device.hostname


def _node(device: DeviceView) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": device.hostname},
        "spec": {"providerID": f"equinixmetal://{device.metro}/{device.id}"},
        "status": {"conditions": [condition | {"lastHeartbeatTime": WHEN, "lastTransitionTime": WHEN}]},
    }
