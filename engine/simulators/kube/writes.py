"""Creating and changing objects: one path for every write, whatever verb asked for it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from engine.clock import Clock
from engine.simulators.kube.builtins import NAMESPACES
from engine.simulators.kube.causes import Cause
from engine.simulators.kube.completions import complete, complete_new, kind_causes
from engine.simulators.kube.errors import (
    already_exists,
    bad_request,
    broken,
    conflict,
    forbidden,
    invalid,
    not_found,
    version_required,
)
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.meta import change_causes, check_new_name, check_shape, metadata_causes, timestamp
from engine.simulators.kube.objects import Key, ObjectStore, Stored
from engine.simulators.seed import Seed

# The letters of generated names: no vowels, so that no words come out, and nothing that looks like something else.
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_NAME_ATTEMPTS_MAX = 8


class Part(Enum):
    """Which part of an object a write may touch."""

    MAIN = "everything but the status"
    STATUS = "the status only"


class UnknownFields(Enum):
    """What happens to fields that the schema does not know; they are never kept."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which object of which kind; the namespace is empty for kinds of the whole cluster."""

    kind: Kind
    namespace: str
    name: str = ""

    @property
    def key(self) -> Key:
        """Where the object lies."""
        return self.kind.shelf, self.namespace, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a write is meant; warnings for the client are gathered here."""

    dry_run: bool = False
    unknown_fields: UnknownFields = UnknownFields.IGNORE
    part: Part = Part.MAIN
    warnings: list[str] = field(default_factory=list)


class Writer:
    """The creating and changing half of the server; hold the store's lock around every call."""

    def __init__(self, store: ObjectStore, clock: Clock, seed: Seed) -> None:
        self._store = store
        self._clock = clock
        self._seed = seed

    def require(self, target: Target) -> Stored:
        """Answer the object, or refuse."""
        stored = self._store.get(target.key)
        if stored is None:
            raise not_found(target.kind, target.name)
        return stored

    def create(self, target: Target, body: object, options: WriteOptions) -> Stored:
        """Keep a new object with a fresh identity."""
        kind, now = target.kind, timestamp(self._clock.now())
        value = check_shape(kind, body)
        metadata = value["metadata"]
        if metadata.get("resourceVersion"):
            raise broken("resourceVersion should not be set on objects to be created")
        self._name(target, metadata)
        self._check_namespace(target, metadata)
        target = dataclasses.replace(target, name=metadata["name"])
        there = self._store.get(target.key)
        if there:
            raise already_exists(kind, target.name, deleting="deletionTimestamp" in there.value["metadata"])
        for owned in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(owned, None)
        metadata |= {"uid": self._seed.uuid(), "creationTimestamp": now}
        if kind.counts_generation:
            metadata["generation"] = 1
        value = self._checked(kind, value, options)
        complete_new(kind, value, now)
        self._refuse(target, value, [])
        return self._store.preview(target.key, value) if options.dry_run else self._store.put(target.key, value)

    def update(self, target: Target, change: Callable[[Json], Json], options: WriteOptions) -> Stored:
        """Keep what the change makes of the object; a change of nothing writes nothing.

        The change gets the object in the form of the kind's version, as a value of its own.
        """
        kind, before = target.kind, self.require(target)
        value = check_shape(kind, change(kind.shown(before.copy())))
        self._check_identity(target, before, value)
        value = self._checked(kind, value, options)
        _restrict(kind, before.value, value, options.part)
        causes = change_causes(before.value["metadata"], value["metadata"])
        complete(kind, value, timestamp(self._clock.now()))
        self._refuse(target, value, causes)
        _count_generation(kind, before.value, value)
        if value == before.value:
            return before
        return self._store.preview(target.key, value) if options.dry_run else self._store.put(target.key, value)

    def _name(self, target: Target, metadata: Json) -> None:
        if metadata.get("name") or not metadata.get("generateName"):
            check_new_name(target.kind, metadata)
            return
        for _ in range(_NAME_ATTEMPTS_MAX):
            letters = (_NAME_LETTERS[self._seed.integer(0, len(_NAME_LETTERS) - 1)] for _ in range(5))
            metadata["name"] = metadata["generateName"] + "".join(letters)
            if not self._store.get((target.kind.shelf, target.namespace, metadata["name"])):
                return

    def _check_namespace(self, target: Target, metadata: Json) -> None:
        if not target.kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        namespace = self._store.get((NAMESPACES, "", target.namespace))
        if namespace is None:
            raise not_found(_NAMESPACE, target.namespace)
        if "deletionTimestamp" in namespace.value["metadata"]:
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            told = f"namespace {target.namespace} is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": told, "field": "metadata.namespace"}
            raise forbidden(target.kind, metadata["name"], why, [cause])

    def _check_identity(self, target: Target, before: Stored, value: Json) -> None:
        metadata, name = value["metadata"], target.name
        if metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if target.kind.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        seen = metadata.get("resourceVersion")
        if not seen and not target.kind.overwritable:
            raise version_required(target.kind, name)
        if seen and seen != before.value["metadata"]["resourceVersion"]:
            raise conflict(target.kind, name)
        metadata["resourceVersion"] = before.value["metadata"]["resourceVersion"]

    def _checked(self, kind: Kind, value: Json, options: WriteOptions) -> Json:
        """Answer the value in the form that is kept, without unknown fields and with defaults."""
        unknown = kind.structure.prune(value) if kind.structure else []
        if unknown and options.unknown_fields is UnknownFields.STRICT:
            listed = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise bad_request(
                f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: '
                f"strict decoding error: {listed}"
            )
        if options.unknown_fields is UnknownFields.WARN:
            options.warnings.extend(f'unknown field "{path}"' for path in unknown)
        if kind.structure:
            kind.structure.fill(value)
        return kind.kept(value)

    def _refuse(self, target: Target, value: Json, causes: list[Cause]) -> None:
        causes = [*causes, *metadata_causes(target.kind, value["metadata"]), *kind_causes(target.kind, value)]
        if causes:
            raise invalid(target.kind, target.name, causes)


_NAMESPACE = Kind(group="", version="v1", name="Namespace", plural="namespaces", shelf=NAMESPACES, namespaced=False)


def _restrict(kind: Kind, before: Json, value: Json, part: Part) -> None:
    """Undo what this write must not touch."""
    if not kind.has_status:
        return
    if part is Part.MAIN:
        _take(value, before, ["status"])
    elif kind.custom:
        _take(value, before, [name for name in {*value, *before} if name not in {"status", "apiVersion", "kind"}])
    else:
        _take(value, before, ["spec"])


def _take(value: Json, source: Json, names: list[str]) -> None:
    for name in names:
        if name in source:
            value[name] = dict(source[name]) if isinstance(source[name], dict) else source[name]
        else:
            value.pop(name, None)


def _count_generation(kind: Kind, before: Json, value: Json) -> None:
    metadata = value["metadata"]
    generation = before["metadata"].get("generation")
    if generation is None:
        metadata.pop("generation", None)
        return
    ignored = {"metadata", "apiVersion", "kind"} | ({"status"} if kind.has_status else set())
    changed = any(before.get(name) != value.get(name) for name in {*before, *value} - ignored)
    metadata["generation"] = generation + changed
