"""The objects of one cluster and everything that may be done to them, without a word about HTTP.

Every method takes the lock, so that a request is one step for all others.
"""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from engine.clock import Clock
from engine.simulators.kube.builtins import BUDGETS, BUILT_IN, DEFINITIONS, EVENTS, PODS
from engine.simulators.kube.customs import kinds_of, shelf_of
from engine.simulators.kube.disruptions import check_eviction, refresh_budgets
from engine.simulators.kube.errors import StatusError
from engine.simulators.kube.kinds import Json, Registry
from engine.simulators.kube.meta import instant
from engine.simulators.kube.objects import ObjectStore, Stored
from engine.simulators.kube.removals import DeleteOptions, Removal, Remover
from engine.simulators.kube.writes import Target, WriteOptions, Writer
from engine.simulators.seed import Seed

EVENT_LIFE = timedelta(hours=1)  # as the real server keeps them
EVENT_SWEEP_PERIOD = timedelta(minutes=1)

_FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class Cluster:
    """One cluster's state, with the rules that every write obeys."""

    def __init__(self, store: ObjectStore, clock: Clock, seed: Seed) -> None:
        self.store = store
        self.registry = Registry(BUILT_IN)
        self._clock = clock
        self._writer = Writer(store, clock, seed)
        self._remover = Remover(store, self.registry, clock, self._changed)
        self._events_swept_at: datetime | None = None
        self._begin()

    def read(self, target: Target) -> Stored:
        """Answer the object, or refuse."""
        with self.store.lock:
            return self._writer.require(target)

    def create(self, target: Target, body: object, options: WriteOptions) -> Stored:
        """Keep a new object."""
        with self.store.lock:
            stored = self._writer.create(target, body, options)
            if not options.dry_run:
                self._changed(stored)
                self._sweep_events(target)
            return stored

    def update(self, target: Target, change: Callable[[Json], Json], options: WriteOptions) -> Stored:
        """Keep what the change makes of the object."""
        with self.store.lock:
            before = self.store.get(target.key)
            stored = self._writer.update(target, change, options)
            if options.dry_run or stored is before:
                return stored
            self._changed(stored)
            return self._remover.settle(stored)

    def delete(self, target: Target, options: DeleteOptions) -> Removal:
        """Remove the object, or mark it if something must happen first."""
        with self.store.lock:
            return self._remover.delete(target.kind, self._writer.require(target), options)

    def evict(self, target: Target, options: DeleteOptions) -> None:
        """Delete a pod if its disruption budget allows it."""
        with self.store.lock:
            pod = self._writer.require(target)
            check_eviction(self.store, pod)
            self._remover.delete(target.kind, pod, options)

    def end_terminating_pods(self) -> int:
        """Remove all pods that are being deleted, as kubelets do in time; answer how many there were."""
        with self.store.lock:
            ending = [pod for pod in self.store.listed(PODS) if "deletionTimestamp" in pod.value["metadata"]]
            for pod in ending:
                self._remover.end_pod(pod)
            return len(ending)

    def _begin(self) -> None:
        for definition in self.store.listed(DEFINITIONS):
            self.registry.replace(shelf_of(definition.value), kinds_of(definition.value))
        namespace = self.registry.find("", "v1", "namespaces")
        assert namespace, "namespaces are built in"
        for name in _FIRST_NAMESPACES:
            target = Target(kind=namespace, namespace="", name=name)
            if self.store.get(target.key) is None:
                self.create(target, {"metadata": {"name": name}}, WriteOptions())

    def _changed(self, stored: Stored) -> None:
        """Let other parts of the cluster follow a write or a removal."""
        shelf, namespace, _ = stored.key
        now = self.store.get(stored.key)
        if shelf == DEFINITIONS:
            self._definition_changed(stored, now)
        if shelf in {PODS, BUDGETS}:
            refresh_budgets(self.store, namespace)

    def _definition_changed(self, stored: Stored, now: Stored | None) -> None:
        if now is None:
            self.registry.replace(shelf_of(stored.value), [])
            return
        self.registry.replace(shelf_of(now.value), kinds_of(now.value))

    def _sweep_events(self, target: Target) -> None:
        now = self._clock.now()
        if target.kind.shelf != EVENTS:
            return
        if self._events_swept_at and now - self._events_swept_at < EVENT_SWEEP_PERIOD:
            return
        self._events_swept_at = now
        for event in self.store.listed(EVENTS):
            if now - instant(event.value["metadata"]["creationTimestamp"]) > EVENT_LIFE:
                self.store.remove(event.key)

    def apply(self, target: Target, body: Json, change: Callable[[Json], Json], options: WriteOptions) -> Stored:
        """Create the object from the body, or change the one that is there."""
        with self.store.lock:
            if self.store.get(target.key) is None:
                return self.create(target, body, options)
            return self.update(target, change, options)

    def delete_all(self, targets: list[Target], options: DeleteOptions) -> list[Stored]:
        """Delete what is still there of the targets; answer the objects as they were."""
        with self.store.lock:
            found = [(target, self.store.get(target.key)) for target in targets]
            for target, stored in found:
                if stored:
                    with suppress(StatusError):  # an owner earlier in the list took it along
                        self.delete(target, options)
            return [stored for _, stored in found if stored]

    def target(self, api_version: str, kind_name: str, name: str, namespace: str = "") -> Target | None:
        """Answer the target that an object of this kind and name has, or None for an unknown kind."""
        kind = self.registry.named(api_version, kind_name)
        if kind is None:
            return None
        return dataclasses.replace(
            Target(kind=kind, namespace="", name=name), namespace=_home(kind.namespaced, namespace)
        )


def _home(namespaced: bool, namespace: str) -> str:  # noqa: FBT001 - a fact about the kind
    return (namespace or "default") if namespaced else ""
