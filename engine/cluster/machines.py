"""Writes to Machines. Nobody else's field is ever named in a patch, so nobody else's field changes."""

from collections.abc import Mapping
from typing import Any

from engine.cluster import objects
from engine.cluster.resource import Resource, with_finalizer
from engine.domain.phase import MachineStatus
from engine.domain.wanted import MACHINE_FINALIZER, MachineObject
from engine.ports.cluster import ConflictError, MachinePatch, ObjectGoneError


class MachineWrites:
    """What the port lets others change about a Machine."""

    def __init__(self, machines: Resource[MachineObject], *, target: bool) -> None:
        """`target` says whether there is a target cluster."""
        self._machines = machines
        self._target = target

    def patch(self, machine: MachineObject, patch: MachinePatch) -> MachineObject:
        """Change what the patch says, in one request."""
        metadata = {
            key: dict(part) for key, part in (("labels", patch.labels), ("annotations", patch.annotations)) if part
        }
        parts = {"spec": {"providerID": patch.provider_id}} if patch.provider_id is not None else {}
        newest = self._machines.newest(machine)
        if patch.add_finalizer and MACHINE_FINALIZER not in newest.finalizers:
            return self._patch_with_finalizer(machine, metadata, parts)
        if not metadata and not parts:
            return newest
        return self._machines.patch(machine, metadata=metadata, parts=parts)

    def write_status(self, machine: MachineObject, status: MachineStatus) -> MachineObject:
        """Make the status say this.

        The version is always named: the API server does not look at the uid in a patch of `status`.
        """

        def make(newest: MachineObject) -> Mapping[str, Any]:
            return {"status": objects.status_patch(status, newest.status, target=self._target)}

        return self._machines.patch_newest(machine, make, subresource="/status")

    def drop_finalizer(self, machine: MachineObject) -> None:
        """Take our finalizer off, if the Machine is still as it was read."""
        newest = self._machines.newest(machine)
        if MACHINE_FINALIZER not in machine.finalizers and MACHINE_FINALIZER not in newest.finalizers:
            return
        finalizers = with_finalizer(machine.finalizers, MACHINE_FINALIZER, present=False)
        try:
            self._machines.patch(machine, metadata={"finalizers": finalizers}, base=machine)
        except ObjectGoneError:
            return
        except ConflictError:
            if self._has_finalizer(machine):
                raise

    def _patch_with_finalizer(
        self, machine: MachineObject, metadata: Mapping[str, Any], parts: Mapping[str, Any]
    ) -> MachineObject:
        def make(newest: MachineObject) -> Mapping[str, Any]:
            if newest.finalizers != machine.finalizers:
                raise ConflictError(f"machines/{machine.name}: its finalizers changed since it was read")
            finalizers = with_finalizer(newest.finalizers, MACHINE_FINALIZER, present=True)
            return {**parts, "metadata": {**metadata, "finalizers": finalizers}}

        return self._machines.patch_newest(machine, make)

    def _has_finalizer(self, machine: MachineObject) -> bool:
        try:
            return MACHINE_FINALIZER in self._machines.refresh(machine).finalizers
        except ObjectGoneError:
            return False
