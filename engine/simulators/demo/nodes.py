"""What kubelets and the cloud provider's controller do: a Node joins soon after its device is up.

A Node whose device is gone or off becomes NotReady and is otherwise left alone: deleting it is the controller's task.
"""

from datetime import datetime, timedelta
from typing import Any

from engine.clock import Clock
from engine.simulators.kube.errors import StatusError
from engine.simulators.kube.kinds import Json
from engine.simulators.kube.meta import timestamp
from engine.simulators.kube.simulator import KubeSimulator, Ref
from engine.simulators.metal import DeviceView, MetalSettings, MetalSimulator
from engine.simulators.seed import Seed

_PROVIDER = "equinixmetal://"
_JOIN_SECONDS = (1.0, 2.0)  # from the running device to the Ready Node; minutes in reality, and nobody likes to wait
_KUBELET = "v1.33.0"
_UP = "active"
_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_CATALOGUE = MetalSettings()
_PLANS = {plan.slug: plan for plan in _CATALOGUE.plans}
_FACILITIES = {metro.code: metro.facility for metro in _CATALOGUE.metros}


class Kubelets:
    """The kubelets of all devices."""

    def __init__(self, *, clock: Clock, seed: Seed, kube: KubeSimulator, metal: MetalSimulator) -> None:
        self._clock = clock
        self._seed = seed
        self._kube = kube
        self._metal = metal
        self._joined: set[str] = set()

    def turn(self) -> None:
        """Let the Nodes join that are ready to, and let every Node say how its device is."""
        now = self._clock.now()
        devices = {device.id: device for device in self._metal.devices()}
        nodes = {node["metadata"]["name"]: node for node in self._kube.listed(_node(""))}
        for device in devices.values():
            if device.state == _UP and device.id not in self._joined and self._booted(device, now):
                self._join(device, nodes.get(device.hostname), now)
        self._joined &= devices.keys()
        for node in nodes.values():
            device_id = _device_of(node)
            if device_id:
                self._report(node, devices.get(device_id), now)

    def _booted(self, device: DeviceView, now: datetime) -> bool:
        wait = timedelta(seconds=self._seed.child(device.id).between(*_JOIN_SECONDS))
        return device.active_at is not None and device.active_at + wait <= now

    def _join(self, device: DeviceView, found: Json | None, now: datetime) -> None:
        """A kubelet registers when it starts: a Node that is deleted later does not come back by itself."""
        try:
            if found and _device_of(found) != device.id:
                # The name is another server's by now; a providerID cannot be changed.
                self._kube.delete(_node(device.hostname))
            if not found or _device_of(found) != device.id:
                self._kube.apply(_manifest(device, now))
        except StatusError:
            return  # somebody holds the old Node, or was quicker; the next turn looks again
        self._joined.add(device.id)

    def _report(self, node: Json, device: DeviceView | None, now: datetime) -> None:
        up = device is not None and device.state == _UP
        wanted = _ready(up=up, now=now)
        conditions = node.get("status", {}).get("conditions", [])
        current: Json = next((each for each in conditions if each["type"] == "Ready"), {})
        if current.get("status") == wanted["status"]:
            return
        others = [each for each in conditions if each["type"] != "Ready"]
        try:
            self._kube.patch(_node(node["metadata"]["name"]), {"status": {"conditions": [*others, wanted]}})
        except StatusError:
            return  # it was deleted meanwhile


def _node(name: str) -> Ref:
    return Ref(api_version="v1", kind="Node", name=name)


def _device_of(node: Json) -> str:
    provider_id: str = node.get("spec", {}).get("providerID", "")
    return provider_id.rsplit("/", 1)[-1] if provider_id.startswith(_PROVIDER) else ""


def _manifest(device: DeviceView, now: datetime) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": device.hostname, "labels": _labels(device)},
        "spec": {"providerID": f"{_PROVIDER}{device.id}"},
        "status": _status(device, now),
    }


def _labels(device: DeviceView) -> dict[str, str]:
    return {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": device.hostname,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": device.plan,
        "topology.kubernetes.io/region": device.metro,
        "topology.kubernetes.io/zone": _FACILITIES[device.metro],
    }


def _status(device: DeviceView, now: datetime) -> Json:
    plan = _PLANS[device.plan]
    size = {"cpu": str(plan.cores), "memory": f"{plan.memory_gib}Gi", "pods": "110"}
    addresses = [
        ("Hostname", device.hostname),
        ("ExternalIP", device.public_address),
        ("InternalIP", device.private_address),
    ]
    pressures = [
        _condition(name, "False", reason=reason, message=message, now=now)
        for name, (reason, message) in _PRESSURES.items()
    ]
    return {
        "capacity": size,
        "allocatable": size,
        "addresses": [{"type": kind, "address": address} for kind, address in addresses if address],
        "conditions": [*pressures, _ready(up=True, now=now)],
        "nodeInfo": _system(device),
    }


def _system(device: DeviceView) -> dict[str, str]:
    return {
        "architecture": "amd64",
        "bootID": device.id,
        "containerRuntimeVersion": "containerd://2.0.5",
        "kernelVersion": "6.8.0",
        "kubeProxyVersion": "",
        "kubeletVersion": _KUBELET,
        "machineID": device.id.replace("-", ""),
        "operatingSystem": "linux",
        "osImage": _CATALOGUE.operating_systems[device.operating_system],
        "systemUUID": device.id,
    }


def _ready(*, up: bool, now: datetime) -> Json:
    if up:
        return _condition("Ready", "True", reason="KubeletReady", message="kubelet is posting ready status", now=now)
    text = "Kubelet stopped posting node status."
    return _condition("Ready", "Unknown", reason="NodeStatusUnknown", message=text, now=now)


def _condition(kind: str, status: str, *, reason: str, message: str, now: datetime) -> dict[str, Any]:
    at = timestamp(now)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
    }
