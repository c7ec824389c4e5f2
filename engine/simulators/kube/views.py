"""Objects in the shapes that clients ask for: as they are, as metadata alone, as table rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from engine.simulators.kube.columns import Column, columns_of
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.negotiation import Shape
from engine.simulators.kube.objects import Stored

_META = "meta.k8s.io/v1"


class View:
    """How one request sees objects of one kind."""

    def __init__(self, kind: Kind, shape: Shape, now: datetime, include: str = "Metadata") -> None:
        self._kind = kind
        self._shape = shape
        self._now = now
        self._include = include

    def one(self, stored: Stored) -> bytes:
        """Answer a single object."""
        if self._shape is Shape.TABLE:
            meta = {"resourceVersion": stored.value["metadata"].get("resourceVersion", "")}
            return msgspec.json.encode(self._table([stored], meta))
        if self._shape is Shape.METADATA:
            return msgspec.json.encode(_partial(stored.value))
        return self._whole(stored)

    def listed(self, items: Sequence[Stored], meta: Json) -> bytes:
        """Answer a list."""
        if self._shape is Shape.TABLE:
            return msgspec.json.encode(self._table(items, meta))
        if self._shape is Shape.METADATA:
            partial = [_partial(stored.value) for stored in items]
            listed = {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": meta, "items": partial}
            return msgspec.json.encode(listed)
        head = {"kind": self._kind.list_name, "apiVersion": self._kind.api_version, "metadata": meta}
        body = b",".join(self._item(stored) for stored in items)
        return msgspec.json.encode(head)[:-1] + b',"items":[' + body + b"]}"

    def event(self, name: str, stored: Stored, *, first: bool) -> bytes:
        """Answer a line of a watch; only the first row of a table has a head."""
        if self._shape is Shape.TABLE:
            meta = {"resourceVersion": str(stored.revision)}
            shown = msgspec.json.encode(self._table([stored], meta, headed=first))
        else:
            shown = self.one(stored)
        return b'{"type":"%s","object":%s}\n' % (name.encode(), shown)

    def _whole(self, stored: Stored) -> bytes:
        if self._kind.outward is None:
            return stored.raw
        return msgspec.json.encode(self._kind.shown(stored.value))

    def _item(self, stored: Stored) -> bytes:
        """Answer the object as an item of a list: built-in kinds do not say there again what they are."""
        if self._kind.custom:
            return self._whole(stored)
        shown = self._kind.shown(stored.value)
        return msgspec.json.encode({key: part for key, part in shown.items() if key not in {"apiVersion", "kind"}})

    def _table(self, items: Sequence[Stored], meta: Json, *, headed: bool = True) -> Json:
        columns = columns_of(self._kind)
        table: Json = {"kind": "Table", "apiVersion": _META, "metadata": meta}
        table["columnDefinitions"] = [column.definition() for column in columns] if headed else []
        table["rows"] = [self._row(columns, stored) for stored in items]
        return table

    def _row(self, columns: Sequence[Column], stored: Stored) -> Json:
        row: Json = {"cells": [column.cell(stored.value, self._now) for column in columns]}
        match self._include:
            case "Object":
                row["object"] = self._kind.shown(stored.value)
            case "Metadata":
                row["object"] = _partial(stored.value)
            case _:
                row["object"] = None
        return row


def _partial(value: Json) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": value["metadata"]}
