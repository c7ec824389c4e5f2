"""Every statement, built once; SQLAlchemy keeps their compiled text. No connection, no records.

Both databases run the same statements; the only difference is whose "insert or update" is spelled.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from engine.domain.machine import MachineFilter
from engine.domain.outcome import Code
from engine.domain.states import PLACES
from engine.ports.store import HistoryFilter
from engine.store.schema import (
    CLAIMED,
    FINISHED,
    UNFINISHED,
    WAITING,
    devices,
    intents,
    leases,
    machines,
    orphans,
    reservations,
    transitions,
)

_M, _T, _R, _D, _L = machines.c, transitions.c, reservations.c, devices.c, leases.c
_RECORD: Final = [column for column in machines.c if column.name not in {"claimed_by", "claimed_until"}]

ADD_ENTRY: Final = transitions.insert()
ADD_INTENT: Final = intents.insert().inline()


def _word(text: str) -> sa.ColumnElement[str]:
    """Answer a word of ours as it stands in the SQL: a list of parameters would be compiled anew for each call."""
    return sa.literal_column(f"'{text}'")


# What a newer program wrote is neither claimed nor due: this one could not even give it back.
_READABLE: Final = sa.and_(
    _M.state.concat(_word("/")).concat(_M.step).in_([_word(str(place)) for place in PLACES]),
    sa.or_(_M.problem_code.is_(None), _M.problem_code.in_([_word(str(code)) for code in Code])),
)

CLAIM: Final = (
    machines.update()
    .where(_M.uid == bindparam("which"), UNFINISHED, _READABLE)
    .where(sa.or_(_M.claimed_by.is_(None), _M.claimed_until <= bindparam("now", type_=_M.claimed_until.type)))
    .values(claimed_by=bindparam("worker"), claimed_until=bindparam("until"), fence=_M.fence + 1)
    .returning(*_RECORD)
)
COMMIT: Final = machines.update().where(
    _M.uid == bindparam("which"), _M.fence == bindparam("held"), _M.version == bindparam("known")
)
READMIT: Final = machines.update().where(_M.uid == bindparam("which"), _M.version == bindparam("known"), FINISHED)
RELEASE: Final = (
    machines.update()
    .where(_M.uid == bindparam("which"), _M.fence == bindparam("held"))
    .values(due_at=bindparam("due"), claimed_by=None, claimed_until=None)
)
DUE: Final = (
    sa.select(_M.uid)
    .where(WAITING, _M.due_at <= bindparam("now"), _READABLE)
    .order_by(_M.due_at, _M.uid)
    .limit(bindparam("most", type_=sa.Integer()))
)
# Rows that somebody is writing right now are not expired: they are skipped, and nobody waits.
_EXPIRED: Final = (
    sa.select(_M.uid).where(CLAIMED, _M.claimed_until <= bindparam("now")).with_for_update(skip_locked=True)
)
REAP: Final = (
    machines.update()
    .where(_M.uid.in_(_EXPIRED))
    .values(due_at=bindparam("due"), claimed_by=None, claimed_until=None)
    .returning(_M.uid)
)
RESOLVE: Final = (
    intents.update()
    .where(intents.c.uid == bindparam("which_uid"), intents.c.intent_id == bindparam("which_intent"))
    .where(intents.c.result.is_(None))
    .values(device_id=sa.func.coalesce(bindparam("new_device", type_=sa.Text()), intents.c.device_id))
)
GET: Final = sa.select(*_RECORD).where(_M.uid == bindparam("which"))
PARKED: Final = sa.select(*_RECORD).where(sa.not_(_READABLE)).order_by(_M.namespace, _M.name, _M.uid)
INTENTS: Final = sa.select(intents).where(intents.c.uid == bindparam("which")).order_by(intents.c.seq)

RESERVATIONS: Final = sa.select(reservations).order_by(_R.reservation_id)
WANTED_RESERVATIONS: Final = sa.select(reservations).where(_R.reservation_id.in_(bindparam("wanted", expanding=True)))
FREE_RESERVATION: Final = (
    reservations.update()
    .where(_R.reservation_id == bindparam("which"), _R.uid == bindparam("who"), _R.freed_at.is_(None))
    .values(freed_at=bindparam("now"))
)
MARK_GONE: Final = (
    devices.update()
    .where(_D.account == bindparam("whose"), _D.device_id == bindparam("which"), _D.gone_at.is_(None))
    .values(gone_at=bindparam("now"))
)
ORPHANS: Final = sa.select(orphans).order_by(orphans.c.first_seen_at, orphans.c.device_id)
FORGET_ORPHAN: Final = orphans.delete().where(orphans.c.device_id == bindparam("which"))
RELEASE_LEASE: Final = (
    leases.update().where(_L.name == bindparam("which"), _L.holder == bindparam("who")).values(expires_at=None)
)

ENDED: Final = (
    sa.select(_M.uid)
    .where(FINISHED, _M.place_since < bindparam("before"))
    .order_by(_M.place_since, _M.uid)
    .limit(bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
FORGET: Final = tuple(
    table.delete().where(table.c.uid.in_(bindparam("uids", expanding=True)))
    for table in (transitions, intents, machines)
)


class Upserts:
    """The statements that insert or update, in the dialect of one database."""

    def __init__(self, dialect: str) -> None:
        """Build them for `sqlite` or `postgresql`."""
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]
        self.admit = insert(machines).on_conflict_do_nothing(index_elements=[_M.uid]).returning(_M.uid)
        self.hold = _hold(insert(reservations))
        self.see = _see(insert(devices))
        self.lease = _lease(insert(leases))
        self.orphan = _orphan(insert(orphans))


def _hold(insert: Any) -> Any:
    new = insert.excluded
    cooled = _R.freed_at <= bindparam("cooled", type_=_R.freed_at.type)
    return insert.on_conflict_do_update(
        index_elements=[_R.reservation_id],
        set_={"uid": new.uid, "held_at": new.held_at, "freed_at": None},
        where=cooled,
    ).returning(_R.reservation_id)


def _see(insert: Any) -> Any:
    kept = {"account", "device_id", "first_seen_at"}
    changed = {column.name: column for column in insert.excluded if column.name not in kept}
    return insert.on_conflict_do_update(index_elements=[_D.account, _D.device_id], set_=changed)


def _orphan(insert: Any) -> Any:
    changed = {column.name: column for column in insert.excluded if column.name != "device_id"}
    return insert.on_conflict_do_update(index_elements=[orphans.c.device_id], set_=changed)


def _lease(insert: Any) -> Any:
    new, now = insert.excluded, bindparam("now", type_=_L.expires_at.type)
    renewed = sa.and_(_L.holder == new.holder, _L.expires_at > now)
    return insert.on_conflict_do_update(
        index_elements=[_L.name],
        set_={
            "holder": new.holder,
            "expires_at": new.expires_at,
            "epoch": sa.case((renewed, _L.epoch), else_=_L.epoch + 1),
        },
        where=sa.or_(_L.holder == new.holder, _L.expires_at.is_(None), _L.expires_at <= now),
    ).returning(leases)


def find(wanted: MachineFilter) -> sa.Select[Any]:
    """Answer the statement that reads matching machines, by namespace, name and admission."""
    query = sa.select(*_RECORD).order_by(_M.namespace, _M.name, _M.admitted_at, _M.uid)
    if wanted.namespace:
        query = query.where(_M.namespace == wanted.namespace)
    if wanted.name:
        query = query.where(_M.name == wanted.name)
    if wanted.states:
        query = query.where(_M.state.in_(sorted(state.value for state in wanted.states)))
    return query.where(UNFINISHED) if wanted.unfinished_only else query


def seen_devices(account: str | None) -> sa.Select[Any]:
    """Answer the statement that reads the devices of one account or of all, by first sight."""
    query = sa.select(devices).order_by(_D.first_seen_at, _D.account, _D.device_id)
    return query if account is None else query.where(_D.account == account)


def history(wanted: HistoryFilter) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    """Answer the statement that reads the newest matching entries, newest first.

    One machine's entries are ordered by version, the fleet's by instant. With triggers, one index range is read per
    trigger and merged: an index serves each, however rare or common the trigger is.
    """
    window = _window(wanted.since, wanted.until)
    if wanted.uid is not None:
        query = sa.select(transitions).where(_T.uid == wanted.uid, *window)
        if wanted.triggers:
            query = query.where(_T.trigger.in_(sorted(wanted.triggers)))
        return query.order_by(_T.version.desc()).limit(wanted.limit)
    if not wanted.triggers:
        return _newest(window, wanted.limit)
    parts = [_newest([*window, _T.trigger == trigger], wanted.limit) for trigger in sorted(wanted.triggers)]
    if len(parts) == 1:
        return parts[0]
    merged = sa.union_all(*[sa.select(part.subquery()) for part in parts])
    names = merged.selected_columns
    return merged.order_by(names["at"].desc(), names["uid"].desc(), names["version"].desc()).limit(wanted.limit)


def _newest(conditions: Sequence[sa.ColumnElement[bool]], most: int) -> sa.Select[Any]:
    newest_first = (_T.at.desc(), _T.uid.desc(), _T.version.desc())
    return sa.select(transitions).where(*conditions).order_by(*newest_first).limit(most)


def _window(since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if since is not None:
        conditions.append(_T.at >= since)
    if until is not None:
        conditions.append(_T.at < until)
    return conditions
