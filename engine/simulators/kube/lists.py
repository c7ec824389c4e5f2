"""Lists: selected, in pages that all show one moment, and in the client's shape."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from engine.simulators.kube.causes import Cause
from engine.simulators.kube.errors import StatusError, bad_request, expired, invalid_option, version_too_large
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.objects import Key, ObjectStore, Stored, after_start
from engine.simulators.kube.selectors import Predicate, by_fields, by_labels, everything

Query = Mapping[str, Sequence[str]]

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some objects, and what the list's metadata says about the rest."""

    items: list[Stored]
    meta: Json


class _Token(msgspec.Struct):
    """Where a page left off; revision 0 goes on with the state of then, whatever it is."""

    revision: int
    namespace: str
    name: str


def one(query: Query, name: str) -> str:
    """Answer the first value of a query parameter, or nothing."""
    return next(iter(query.get(name, ())), "")


def selection(kind: Kind, query: Query) -> Predicate:
    """Answer which kept objects the request's selectors mean."""
    labels = by_labels(one(query, "labelSelector"))
    fields = by_fields(one(query, "fieldSelector"), kind)
    if fields is everything:
        return labels
    return lambda value: labels(value) and fields(kind.shown(value))


def page(store: ObjectStore, kind: Kind, namespace: str, query: Query) -> Page:
    """Answer the page that the request asks for."""
    selected = selection(kind, query)
    limit = _number(query, "limit")
    token = _token(one(query, "continue"))
    with store.lock:
        at = _moment(store, query, token)
        revision = store.revision if at is None else at
        try:
            items = store.listed(kind.shelf, namespace, at=at)
        except StatusError as error:
            if token:
                fresh = msgspec.structs.replace(token, revision=0)
                raise expired(_TOO_OLD, {"continue": _text(fresh)}) from error
            raise
    start: Key = (kind.shelf, token.namespace, token.name) if token else (kind.shelf, "", "")
    rest = [stored for stored in after_start(items, start) if selected(stored.value)]
    if one(query, "resourceVersion") == "0" and not token:
        limit = 0  # served whole from memory, as the real server's cache does
    return _cut(rest, limit, revision, counts=selected is everything)


def _cut(rest: list[Stored], limit: int, revision: int, *, counts: bool) -> Page:
    meta: Json = {"resourceVersion": str(revision)}
    if not limit or len(rest) <= limit:
        return Page(items=rest, meta=meta)
    _, namespace, name = rest[limit].key
    meta["continue"] = _text(_Token(revision=revision, namespace=namespace, name=name))
    if counts:
        meta["remainingItemCount"] = len(rest) - limit
    return Page(items=list(islice(rest, limit)), meta=meta)


def _moment(store: ObjectStore, query: Query, token: _Token | None) -> int | None:
    """Answer the revision that the list is to show, or None for now."""
    if token:
        return token.revision or None
    asked, match = _number(query, "resourceVersion"), one(query, "resourceVersionMatch")
    if match and not one(query, "resourceVersion"):
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise invalid_option("ListOptions", Cause(field="resourceVersionMatch", text=text))
    if asked > store.revision:
        raise version_too_large(asked, store.revision)
    return asked if match == "Exact" else None


def _number(query: Query, name: str) -> int:
    text = one(query, name)
    if not text:
        return 0
    if not text.isdigit():
        raise bad_request(f'invalid {name} "{text}": must be a number that is not negative')
    return int(text)


def _token(text: str) -> _Token | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error


def _text(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()
