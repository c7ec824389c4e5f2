"""A small stand-in for the machine controller manager (MCM), which is a Go program and not embedded.

It keeps as many Machines as each MachineDeployment asks for, without MachineSets in between, so that scaling can be
watched in the demo. **In production the real MCM does this**: with rollouts, priorities, overshoot protection and all
else that is left out here.
"""

import hashlib
from typing import Any

import msgspec

from engine.clock import Clock
from engine.simulators.kube.errors import StatusError
from engine.simulators.kube.kinds import Json
from engine.simulators.kube.simulator import KubeSimulator, Ref
from engine.simulators.seed import Seed

GROUP = "machine.sapcloud.io/v1alpha1"
FINALIZER = "machine.sapcloud.io/machine-controller-manager"
HASH_LABEL = "machine-template-hash"
CHANGES_MAX = 100  # a turn; MCM has the same limit for one look at a MachineSet

_SERVING = frozenset({"Running", "Available"})


class Replicas:
    """Keeps the Machines of every MachineDeployment."""

    def __init__(self, *, clock: Clock, kube: KubeSimulator) -> None:
        self._kube = kube
        # Names must differ from those of earlier runs; nothing here has to be repeatable.
        self._seed = Seed(f"replicas since {clock.now().isoformat()}")

    def turn(self) -> None:
        """Bring every MachineDeployment one step nearer to what it asks for."""
        for deployment in self._kube.listed(Ref(api_version=GROUP, kind="MachineDeployment", namespace="")):
            try:
                self._tend(deployment)
            except StatusError:
                continue  # it changed or went meanwhile; the next turn sees it anew

    def _tend(self, deployment: Json) -> None:
        meta = deployment["metadata"]
        owned = [
            machine
            for machine in self._kube.listed(_ref("Machine", "", meta["namespace"]))
            if any(owner["uid"] == meta["uid"] for owner in machine["metadata"].get("ownerReferences", []))
        ]
        if meta.get("deletionTimestamp"):
            self._dissolve(deployment, owned)
            return
        if FINALIZER not in meta.get("finalizers", []):
            self._patch(deployment, {"metadata": {"finalizers": [*meta.get("finalizers", []), FINALIZER]}})
        if not deployment["spec"].get("paused"):
            self._adjust(deployment, [machine for machine in owned if not _leaving(machine)])
        self._report(deployment, owned)

    def _dissolve(self, deployment: Json, owned: list[Json]) -> None:
        """The Machines go first, then our finalizer, then the MachineDeployment."""
        self._delete([machine for machine in owned if not _leaving(machine)])
        if not owned:
            kept = [each for each in deployment["metadata"].get("finalizers", []) if each != FINALIZER]
            self._patch(deployment, {"metadata": {"finalizers": kept}})

    def _adjust(self, deployment: Json, living: list[Json]) -> None:
        """Replace what failed, renew what is outdated one by one, and be as many as asked for."""
        self._delete([machine for machine in living if _phase(machine) == "Failed"])
        living = [machine for machine in living if _phase(machine) != "Failed"]
        wanted: int = deployment["spec"].get("replicas", 0)
        mark = _mark(deployment)
        outdated = [machine for machine in living if _is_outdated(machine, mark)]
        surge = 1 if outdated and wanted else 0
        for _ in range(min(wanted + surge - len(living), CHANGES_MAX)):
            self._create(deployment, mark)
        surplus = len(living) - wanted - surge
        if surge and surplus == 0 and sum(map(_serves, living)) > wanted:
            surplus = 1
        newest_first = sorted(living, key=_created_at, reverse=True)
        victims = sorted(newest_first, key=lambda machine: (not _is_outdated(machine, mark), _serves(machine)))
        self._delete(victims[: max(0, surplus)])

    def _create(self, deployment: Json, mark: str) -> None:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        template_meta = template.get("metadata") or {}
        labels = {**(template_meta.get("labels") or {}), "name": meta["name"], HASH_LABEL: mark}
        owner = {"apiVersion": GROUP, "kind": "MachineDeployment", "name": meta["name"], "uid": meta["uid"]}
        machine = {
            "apiVersion": GROUP,
            "kind": "Machine",
            "metadata": {
                "name": f"{meta['name']}-{mark[:5]}-{self._seed.uuid()[:5]}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": template_meta.get("annotations") or {},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": template.get("spec") or {},
        }
        self._kube.apply(machine)

    def _delete(self, machines: list[Json]) -> None:
        for machine in machines[:CHANGES_MAX]:
            meta = machine["metadata"]
            self._kube.delete(_ref("Machine", meta["name"], meta["namespace"]))

    def _report(self, deployment: Json, owned: list[Json]) -> None:
        staying = [machine for machine in owned if not _leaving(machine)]
        mark, serving = _mark(deployment), sum(map(_serves, staying))
        status = {
            "observedGeneration": deployment["metadata"].get("generation", 0),
            "replicas": len(staying),
            "updatedReplicas": sum(not _is_outdated(machine, mark) for machine in staying),
            "readyReplicas": serving,
            "availableReplicas": serving,
            "unavailableReplicas": max(0, deployment["spec"].get("replicas", 0) - serving),
        }
        current = deployment.get("status") or {}
        if any(current.get(name) != value for name, value in status.items()):
            self._patch(deployment, {"status": status})

    def _patch(self, deployment: Json, patch: dict[str, Any]) -> None:
        meta = deployment["metadata"]
        self._kube.patch(_ref("MachineDeployment", meta["name"], meta["namespace"]), patch)


def _ref(kind: str, name: str, namespace: str) -> Ref:
    return Ref(api_version=GROUP, kind=kind, name=name, namespace=namespace)


def _mark(deployment: Json) -> str:
    text = msgspec.json.encode(deployment["spec"].get("template") or {}, order="deterministic")
    return hashlib.blake2b(text, digest_size=5).hexdigest()


def _is_outdated(machine: Json, mark: str) -> bool:
    return bool(machine["metadata"].get("labels", {}).get(HASH_LABEL) != mark)


def _phase(machine: Json) -> str:
    status = machine.get("status") or {}
    return str((status.get("currentStatus") or {}).get("phase", ""))


def _serves(machine: Json) -> bool:
    return _phase(machine) in _SERVING


def _leaving(machine: Json) -> bool:
    return "deletionTimestamp" in machine["metadata"] or _phase(machine) == "Terminating"


def _created_at(machine: Json) -> str:
    return str(machine["metadata"]["creationTimestamp"])
