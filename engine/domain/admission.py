"""How a life begins: which Machine objects are ours, and the first record of one that nobody recorded yet."""

from datetime import datetime

from engine.domain.ids import MachineUid
from engine.domain.lifecycle import START
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, MachineObject


def ours(machine: MachineObject) -> bool:
    """Whether the engine has a duty to this object: one that is leaving without our finalizer never had a device."""
    return machine.deletion_requested_at is None or MACHINE_FINALIZER in machine.finalizers


def admission(machine: MachineObject, now: datetime) -> tuple[MachineRecord, HistoryEntry]:
    """Answer the first record and the first line of history of a Machine that nobody recorded yet.

    A Machine that carries our finalizer, a providerID or a status had a controller before: it is taken over, and
    nothing is bought for it before the lists had time to show what was bought already.
    """
    taken_over = MACHINE_FINALIZER in machine.finalizers or bool(machine.provider_id) or machine.status is not None
    record = MachineRecord(
        uid=MachineUid(machine.uid),
        namespace=machine.namespace,
        name=machine.name,
        place=START,
        version=1,
        created_at=machine.created_at,
        admitted_at=now,
        place_since=now,
        operation_at=now,
        class_name=machine.class_name,
        taken_over=taken_over,
        due_at=now,
    )
    note = "taken over from an earlier controller" if taken_over else "the Machine object was seen"
    entry = HistoryEntry(
        uid=record.uid, version=1, at=now, trigger=Trigger.ADMITTED, source=None, target=START, note=note
    )
    return record, entry
