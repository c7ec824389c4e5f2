"""From the committed record back to Kubernetes: the status, when it differs, and an Event for what happened.

The mirror runs while the machine is claimed, so that an older state is never written over a newer one.
"""

from collections.abc import Sequence

from engine.domain.machine import HistoryEntry, MachineRecord, NodeCondition
from engine.domain.phase import LastOperation, MachineStatus, status_of
from engine.domain.wanted import MachineObject
from engine.ports.cluster import Cluster, EventKind, MachineEvent, ObjectGoneError

EVENT_MESSAGE_LENGTH_MAX = 1000  # the API server takes 1,024 bytes


class Mirror:
    """Writes what others read about a machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reflect(self, record: MachineRecord) -> None:
        """Make the Machine's status say what the record stands for; write nothing when it does already.

        Raises ClusterError when the API server did not take it; the record is still true, so try again later.
        """
        machine = self._cluster.machine(record.uid)
        status = status_of(record, target=self._cluster.has_target)
        if machine is None or status is None or same(machine.status, status):
            return
        try:
            self._cluster.write_status(machine, status)
        except ObjectGoneError:
            return

    def announce(self, machine: MachineObject | None, entries: Sequence[HistoryEntry]) -> None:
        """Tell the entries of one run as one Kubernetes Event, if one of them changes the state or is a fault."""
        news = [entry for entry in entries if entry.source != entry.target or entry.problem]
        if machine is None or not any(_is_loud(entry) for entry in news):
            return
        last = news[-1]
        trouble = any(entry.problem for entry in news)
        text = "; ".join(_told(entry) for entry in news)
        self._cluster.announce(
            MachineEvent(
                machine=machine,
                kind=EventKind.WARNING if trouble else EventKind.NORMAL,
                reason="".join(part.capitalize() for part in last.trigger.split("-")),
                message=text[:EVENT_MESSAGE_LENGTH_MAX],
                key=f"{machine.uid}/{last.version}",
            )
        )


def same(seen: MachineStatus | None, wanted: MachineStatus) -> bool:
    """Whether a status says the same already; instants and heartbeats alone are no news."""
    if seen is None:
        return False
    return _essence(seen) == _essence(wanted)


def _essence(status: MachineStatus) -> tuple[object, ...]:
    return (
        str(status.phase),
        status.timeout_active,
        _operation(status.operation),
        frozenset(_condition(each) for each in status.conditions),
        status.addresses,
    )


def _operation(operation: LastOperation | None) -> tuple[str, ...] | None:
    if operation is None:
        return None
    return (str(operation.type), str(operation.state), operation.description, str(operation.error_code))


def _condition(condition: NodeCondition) -> tuple[str, str]:
    return (condition.type, condition.status)


def _is_loud(entry: HistoryEntry) -> bool:
    return entry.source is None or entry.source.state is not entry.target.state or entry.problem is not None


def _told(entry: HistoryEntry) -> str:
    if entry.source is None:
        return f"{entry.target.state}: {entry.note}"
    if entry.source.state is not entry.target.state:
        return f"{entry.source.state} → {entry.target.state}: {entry.note}"
    return entry.note
