"""Machines, their stories and their devices as tables for people, and as plain values for programs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from engine.domain.intents import Intent
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.orphans import Orphan
from engine.domain.states import Place, State, UnknownPlace
from engine.ports.store import Parked

_PARKED = "a newer program wrote this; nothing is done for this machine until that program is back"

_COLOURS: dict[str, str] = {
    State.PENDING: "yellow",
    State.PROVISIONING: "cyan",
    State.ACTIVE: "green",
    State.FAILED: "red",
    State.DELETING: "magenta",
    State.DELETED: "dim",
}


def machines_table(records: Sequence[MachineRecord], now: datetime, parked: Sequence[Parked] = ()) -> Table:
    """Answer one row per machine, with the reason where something does not go well; the parked ones come last."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NAME", "STATE", "STEP", "AGE", "DEVICE", "NODE"):
        table.add_column(title, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for record in records:
        table.add_row(
            record.name,
            Text(record.state, style=_COLOURS[record.state]),
            record.place.step,
            age(now - record.created_at),
            (record.device_id or "")[:8],
            record.node_name if record.joined_at else "",
            record.problem.message if record.problem else "",
        )
    for each in parked:
        state, _, step = each.where.partition("/")
        table.add_row(each.name, state, step, "", "", "", _PARKED)
    return table


def history_table(entries: Sequence[HistoryEntry]) -> Table:
    """Answer one row per line of history, the oldest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("#", "WHEN", "WHAT", "STATE"):
        table.add_column(title, no_wrap=True)
    table.add_column("STORY", overflow="fold")
    for entry in entries:
        story = entry.note
        if entry.problem and entry.problem.message not in story:
            story = f"{story} ({entry.problem.code}: {entry.problem.message})"
        colour = _COLOURS.get(entry.target.state, "")
        when = entry.at.strftime("%Y-%m-%d %H:%M:%S.") + f"{entry.at.microsecond // 1000:03d}"
        table.add_row(str(entry.version), when, entry.trigger, Text(str(entry.target), style=colour), story)
    return table


def intents_table(intents: Sequence[Intent]) -> Table:
    """Answer one row per thing that was meant to be done at the cloud, and what became of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("WHEN", "INTENT", "RESULT", "DEVICE"):
        table.add_column(title, no_wrap=True)
    table.add_column("DETAILS", overflow="fold")
    for intent in intents:
        details = ", ".join(f"{key} {value}" for key, value in intent.details.items())
        why = intent.problem.message if intent.problem else details
        result = intent.result.value if intent.result else "unresolved"
        when = intent.written_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(when, intent.kind.value, result, (intent.device_id or "")[:8], why)
    return table


def orphans_table(orphans: Sequence[Orphan], now: datetime) -> Table:
    """Answer one row per device that nobody owns, the longest known first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("DEVICE", "HOSTNAME", "FIRST SEEN", "LAST SEEN", "AGE", "PLAN", "PRICE/H", "STATE"):
        table.add_column(title, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for each in orphans:
        table.add_row(
            each.device_id,
            each.hostname,
            f"{each.first_seen_at:%Y-%m-%d %H:%M:%S}",
            f"{each.last_seen_at:%Y-%m-%d %H:%M:%S}",
            age(now - each.first_seen_at),
            each.plan,
            "" if each.price_per_hour is None else f"{each.price_per_hour:.2f}",
            each.state.value,
            each.reason,
        )
    return table


def machine_lines(record: MachineRecord, now: datetime) -> list[tuple[str, str]]:
    """Answer what is known of one machine, as names and values for people."""
    facts = [
        ("machine", f"{record.namespace}/{record.name}"),
        ("uid", record.uid),
        ("state", f"{record.state} ({record.place.step}), for {age(now - record.place_since)}"),
        ("class", record.class_name),
        ("device", record.device_id or ""),
        ("providerID", record.provider_id),
        ("node", record.node_name),
        ("created", f"{record.created_at:%Y-%m-%d %H:%M:%S} ({age(now - record.created_at)} ago)"),
        ("problem", f"{record.problem.code}: {record.problem.message}" if record.problem else ""),
        ("next try", f"{record.retry_at:%Y-%m-%d %H:%M:%S}" if record.retry_at else ""),
        ("returned", ", ".join(each.device_id for each in record.releases if each.gone_at)),
    ]
    return [(name, value) for name, value in facts if value]


def machine_values(record: MachineRecord) -> dict[str, Any]:
    """Answer one machine for programs."""
    return {
        "uid": record.uid,
        "namespace": record.namespace,
        "name": record.name,
        "state": record.state.value,
        "step": record.place.step.value,
        "version": record.version,
        "class": record.class_name,
        "deviceID": record.device_id,
        "providerID": record.provider_id,
        "node": record.node_name,
        "createdAt": _instant(record.created_at),
        "joinedAt": _instant(record.joined_at),
        "retryAt": _instant(record.retry_at),
        "problem": {"code": record.problem.code.value, "message": record.problem.message} if record.problem else None,
    }


def parked_values(parked: Parked) -> dict[str, Any]:
    """Answer, for programs, a machine that only a newer program understands."""
    state, _, step = parked.where.partition("/")
    return {
        "uid": parked.uid,
        "namespace": parked.namespace,
        "name": parked.name,
        "state": state,
        "step": step,
        "class": parked.class_name,
        "problem": {"code": "Parked", "message": _PARKED},
    }


def entry_values(entry: HistoryEntry) -> dict[str, Any]:
    """Answer one line of history for programs."""
    return {
        "uid": entry.uid,
        "version": entry.version,
        "at": _instant(entry.at),
        "trigger": entry.trigger,
        "from": _place(entry.source),
        "to": _place(entry.target),
        "note": entry.note,
        "actor": entry.actor,
        "deviceID": entry.device_id,
        "intentID": entry.intent_id,
        "problem": {"code": entry.problem.code.value, "message": entry.problem.message} if entry.problem else None,
    }


def intent_values(intent: Intent) -> dict[str, Any]:
    """Answer one intent for programs."""
    return {
        "id": intent.intent_id,
        "kind": intent.kind.value,
        "writtenAt": _instant(intent.written_at),
        "result": intent.result.value if intent.result else None,
        "resolvedAt": _instant(intent.resolved_at),
        "deviceID": intent.device_id,
        "reservationID": intent.reservation_id,
        "details": dict(intent.details),
    }


def orphan_values(orphan: Orphan, now: datetime) -> dict[str, Any]:
    """Answer one orphan for programs."""
    return {
        "deviceID": orphan.device_id,
        "account": orphan.account,
        "machineUID": orphan.uid,
        "hostname": orphan.hostname,
        "plan": orphan.plan,
        "region": orphan.region,
        "pricePerHour": orphan.price_per_hour,
        "state": orphan.state.value,
        "reason": orphan.reason,
        "firstSeenAt": _instant(orphan.first_seen_at),
        "lastSeenAt": _instant(orphan.last_seen_at),
        "ageSeconds": int((now - orphan.first_seen_at).total_seconds()),
        "sightings": orphan.sightings,
        "intendedAt": _instant(orphan.intended_at),
        "acceptedAt": _instant(orphan.accepted_at),
        "goneAt": _instant(orphan.gone_at),
    }


def age(span: timedelta) -> str:
    """Answer a span as kubectl shows ages: `45s`, `12m`, `3h20m`, `5d`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 180:
        return f"{minutes}m"
    return f"{hours}h{minutes % 60}m" if hours < 48 else f"{days}d"


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _place(place: Place | UnknownPlace | None) -> str | None:
    return str(place) if place else None
