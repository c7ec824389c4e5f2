"""Deleting objects: grace, finalizers, owners and what they own, namespaces and definitions with what is in them.

What a cluster's garbage collector and namespace controller do in the background is done here at once, in the same call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from engine.clock import Clock
from engine.simulators.kube.builtins import DEFINITIONS, NAMESPACES, PODS
from engine.simulators.kube.completions import POD_GRACE_SECONDS
from engine.simulators.kube.customs import CLEAN_UP, shelf_of
from engine.simulators.kube.errors import precondition_failed
from engine.simulators.kube.kinds import Json, Kind, Registry
from engine.simulators.kube.meta import timestamp
from engine.simulators.kube.objects import Key, ObjectStore, Stored

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"


class Propagation(Enum):
    """What becomes of the objects that the deleted one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How a deletion is meant."""

    propagation: Propagation | None = None
    grace_seconds: int | None = None
    uid: str | None = None
    revision: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a deletion came to: the object as it was marked or was last, and whether it is gone.

    One that had to wait for something was marked first, even if all that was done at once.
    """

    stored: Stored
    gone: bool
    marked: bool = True


class Remover:
    """The deleting half of the server; hold the store's lock around every call.

    `changed` is told of every object that was written or removed on the way.
    """

    def __init__(self, store: ObjectStore, registry: Registry, clock: Clock, changed: Callable[[Stored], None]) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._changed = changed

    def delete(self, kind: Kind, stored: Stored, options: DeleteOptions) -> Removal:
        """Remove the object, or mark it if something must happen first."""
        _check_preconditions(kind, stored, options)
        value = stored.copy()
        _adjust_finalizers(value["metadata"], options.propagation)
        if stored.key[0] == DEFINITIONS:
            value["metadata"]["finalizers"] = sorted({*value["metadata"].get("finalizers", ()), CLEAN_UP})
        grace = _grace_seconds(stored, options)
        held = bool(value["metadata"].get("finalizers")) or grace > 0 or stored.key[0] == NAMESPACES
        if options.dry_run:
            return Removal(stored=stored, gone=not held, marked=held)
        if not held:
            return Removal(stored=self._remove(stored.key), gone=True, marked=False)
        marked = self._mark(stored, value, grace)
        self._work_off(marked)
        left = self._store.get(marked.key)
        return Removal(stored=left or marked, gone=left is None)

    def settle(self, stored: Stored) -> Stored:
        """Remove an object whose last finalizer has gone; call it after every write."""
        metadata = stored.value["metadata"]
        if "deletionTimestamp" not in metadata or _is_held(stored) or self._store.get(stored.key) is None:
            return stored
        return self._remove(stored.key)

    def end_pod(self, stored: Stored) -> None:
        """Remove a pod that is being deleted, as the kubelet does when its containers have stopped."""
        value = stored.copy()
        value["metadata"]["deletionGracePeriodSeconds"] = 0
        if value["metadata"].get("finalizers"):
            self._changed(self._store.put(stored.key, value))
        else:
            self._remove(stored.key)

    def _mark(self, stored: Stored, value: Json, grace: int) -> Stored:
        metadata = value["metadata"]
        marked_before = "deletionTimestamp" in metadata
        if not marked_before or grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = timestamp(self._clock.now() + timedelta(seconds=grace))
            if stored.key[0] != NAMESPACES:
                metadata["deletionGracePeriodSeconds"] = grace
        if not marked_before and "generation" in metadata:
            metadata["generation"] += 1
        if stored.key[0] == NAMESPACES:
            value["status"] = {**(value.get("status") or {}), "phase": "Terminating"}
        if value == stored.value:
            return stored
        marked = self._store.put(stored.key, value)
        self._changed(marked)
        return marked

    def _work_off(self, marked: Stored) -> None:
        """Do what the finalizers of the server itself wait for."""
        finalizers = marked.value["metadata"].get("finalizers") or []
        if ORPHAN_FINALIZER in finalizers:
            for dependent in self._store.dependents(marked.uid):
                self._disown(dependent, marked.uid)
            self._strip(marked.key, ORPHAN_FINALIZER)
        if FOREGROUND_FINALIZER in finalizers:
            for dependent in self._store.dependents(marked.uid):
                self._leave_owner(dependent, marked.uid, Propagation.FOREGROUND)
            self._finish_foreground(marked.key)
        if marked.key[0] == NAMESPACES:
            self._empty_namespace(marked.key[2])
        if CLEAN_UP in finalizers:
            for stored in self._store.listed(shelf_of(marked.value)):
                self._delete(stored, None)
            self._finish_definition(marked.key)

    def _delete(self, stored: Stored, propagation: Propagation | None) -> None:
        kind, now = self._registry.on(stored.key[0]), self._store.get(stored.key)
        if kind and now and now.uid == stored.uid:
            self.delete(kind, now, DeleteOptions(propagation=propagation))

    def _remove(self, key: Key) -> Stored:
        removed = self._store.remove(key)
        assert removed, "the lock is held between looking and removing"
        self._changed(removed)
        for dependent in self._store.dependents(removed.uid):
            self._leave_owner(dependent, removed.uid, None)
        for owner in removed.value["metadata"].get("ownerReferences") or ():
            waiting = self._store.with_uid(owner["uid"])
            if waiting:
                self._finish_foreground(waiting.key)
        if removed.key[1]:
            self._finish_namespace((NAMESPACES, "", removed.key[1]))
        self._finish_definition((DEFINITIONS, "", ".".join(reversed(key[0]))))
        return removed

    def _leave_owner(self, dependent: Stored, uid: str, propagation: Propagation | None) -> None:
        owners = dependent.value["metadata"].get("ownerReferences") or []
        if any(owner["uid"] != uid and self._store.with_uid(owner["uid"]) for owner in owners):
            self._disown(dependent, uid)
        else:
            self._delete(dependent, propagation)

    def _disown(self, dependent: Stored, uid: str) -> None:
        value = dependent.copy()
        owners = [owner for owner in value["metadata"]["ownerReferences"] if owner["uid"] != uid]
        value["metadata"]["ownerReferences"] = owners
        if not owners:
            del value["metadata"]["ownerReferences"]
        self._changed(self._store.put(dependent.key, value))

    def _strip(self, key: Key, finalizer: str) -> None:
        stored = self._store.get(key)
        if stored is None or finalizer not in (stored.value["metadata"].get("finalizers") or []):
            return
        value = stored.copy()
        value["metadata"]["finalizers"].remove(finalizer)
        if not value["metadata"]["finalizers"]:
            del value["metadata"]["finalizers"]
        stripped = self._store.put(key, value)
        self._changed(stripped)
        self.settle(stripped)

    def _finish_foreground(self, key: Key) -> None:
        owner = self._store.get(key)
        if owner is None or FOREGROUND_FINALIZER not in (owner.value["metadata"].get("finalizers") or []):
            return
        blocking = [
            reference
            for dependent in self._store.dependents(owner.uid)
            for reference in dependent.value["metadata"]["ownerReferences"]
            if reference["uid"] == owner.uid and reference.get("blockOwnerDeletion")
        ]
        if not blocking:
            self._strip(key, FOREGROUND_FINALIZER)

    def _empty_namespace(self, name: str) -> None:
        for shelf in self._store.shelves():
            for stored in self._store.listed(shelf, name) if shelf != NAMESPACES else ():
                self._delete(stored, None)
        self._finish_namespace((NAMESPACES, "", name))

    def _finish_namespace(self, key: Key) -> None:
        namespace = self._store.get(key)
        if namespace is None or "deletionTimestamp" not in namespace.value["metadata"] or _is_held(namespace):
            return
        if not any(self._store.holds_any(shelf, key[2]) for shelf in self._store.shelves()):
            self._remove(key)

    def _finish_definition(self, key: Key) -> None:
        definition = self._store.get(key)
        if definition is None or "deletionTimestamp" not in definition.value["metadata"]:
            return
        if not self._store.listed(shelf_of(definition.value)):
            self._strip(key, CLEAN_UP)


def _is_held(stored: Stored) -> bool:
    metadata = stored.value["metadata"]
    return bool(metadata.get("finalizers")) or metadata.get("deletionGracePeriodSeconds", 0) > 0


def _check_preconditions(kind: Kind, stored: Stored, options: DeleteOptions) -> None:
    metadata, name = stored.value["metadata"], stored.key[2]
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise precondition_failed(kind, name, why)
    if options.revision and options.revision != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise precondition_failed(kind, name, why)


def _adjust_finalizers(metadata: Json, propagation: Propagation | None) -> None:
    if propagation is None:
        return
    wanted = {Propagation.FOREGROUND: FOREGROUND_FINALIZER, Propagation.ORPHAN: ORPHAN_FINALIZER}.get(propagation)
    kept = [f for f in metadata.get("finalizers") or [] if f not in {FOREGROUND_FINALIZER, ORPHAN_FINALIZER}]
    finalizers = [*kept, wanted] if wanted else kept
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _grace_seconds(stored: Stored, options: DeleteOptions) -> int:
    """Answer how long the object may stay: only a pod on a node has somebody who must stop it first."""
    spec = stored.value.get("spec") or {}
    phase = (stored.value.get("status") or {}).get("phase")
    if stored.key[0] != PODS or not spec.get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    if options.grace_seconds is not None:
        return max(0, options.grace_seconds)
    return int(spec.get("terminationGracePeriodSeconds", POD_GRACE_SECONDS))
