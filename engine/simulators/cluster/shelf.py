"""The objects of one simulated cluster: the truth, and beside it what the watches have delivered so far."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from engine.clock import Clock
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject
from engine.ports.cluster import Kind, ObjectChange
from engine.simulators.seed import Seed

Thing = MachineObject | ClassObject | SecretObject | NodeObject
T = TypeVar("T", MachineObject, ClassObject, SecretObject, NodeObject)
Key = tuple[Kind, str]

_KINDS: dict[type[Thing], Kind] = {
    MachineObject: Kind.MACHINE,
    ClassObject: Kind.CLASS,
    SecretObject: Kind.SECRET,
    NodeObject: Kind.NODE,
}


class Shelf:
    """Objects by kind and name, with resource versions, finalizers, and a watch that may lag."""

    def __init__(self, *, clock: Clock, seed: Seed, namespace: str) -> None:
        self.namespace = namespace
        self.lag = timedelta(0)
        """How long a change takes to become readable; a writer sees its own at once."""
        self.listener: Callable[[ObjectChange], None] = lambda _change: None
        self._clock = clock
        self._seed = seed
        self._truth: dict[Key, Thing] = {}
        self._shown: dict[Key, Thing] = {}
        self._ended: set[str] = set()
        self._under_way: deque[tuple[datetime, Key, Thing | None]] = deque()
        self._version = 0

    def uid(self) -> str:
        """Answer a new uid."""
        return self._seed.uuid()

    def version(self) -> str:
        """Answer the next resource version."""
        self._version += 1
        return str(self._version)

    def true(self, kind: type[T], name: str) -> T | None:
        """Answer the object as the API server has it."""
        return cast("T | None", self._truth.get((_KINDS[kind], name)))

    def shown(self, kind: type[T], name: str) -> T | None:
        """Answer the object as the watch has shown it."""
        return cast("T | None", self._shown.get((_KINDS[kind], name)))

    def all_true(self, kind: type[T]) -> list[T]:
        """Answer every object of the kind, as the API server has them."""
        return [cast("T", each) for (held, _), each in self._truth.items() if held is _KINDS[kind]]

    def all_shown(self, kind: type[T]) -> list[T]:
        """Answer every object of the kind, as the watch has shown them."""
        return [cast("T", each) for (held, _), each in self._shown.items() if held is _KINDS[kind]]

    def put(self, thing: T, *, own: bool = False) -> T:
        """Store the object under a new version; whoever writes as the engine (`own`) can read it at once."""
        kept = cast("T", replace(cast("Any", thing), resource_version=self.version()))
        key = (_KINDS[type(thing)], thing.name)
        self._truth[key] = kept
        # A backup may bring back an object that had ended, with the uid that it had.
        self._ended.discard(thing.uid)
        self._tell(key, kept, own=own)
        return kept

    def remove(self, thing: Thing, *, own: bool = False) -> None:
        """Take the object off the shelf."""
        key = (_KINDS[type(thing)], thing.name)
        del self._truth[key]
        self._ended.add(thing.uid)
        self.version()
        self._tell(key, None, own=own)

    def settle(self, thing: T, *, own: bool = False) -> T | None:
        """Store the object, unless it is being deleted and no finalizer holds it: then it vanishes, and None is it."""
        finalizers = getattr(thing, "finalizers", ())
        if getattr(thing, "deletion_requested_at", None) and not finalizers:
            self.remove(thing, own=own)
            return None
        return self.put(thing, own=own)

    def relist(self) -> None:
        """Show everything as it is, as a watch that begins anew does."""
        self._under_way.clear()
        self._shown = dict(self._truth)
        for kind, name in self._truth:
            self._announce((kind, name), deleted=False)

    def deliver(self) -> None:
        """Show what has been under way long enough."""
        while self._under_way and self._under_way[0][0] <= self._clock.now():
            _, key, thing = self._under_way.popleft()
            self._show(key, thing)

    def _tell(self, key: Key, thing: Thing | None, *, own: bool) -> None:
        if own or not self.lag:
            self._show(key, thing)
        else:
            self._under_way.append((self._clock.now() + self.lag, key, thing))

    def _show(self, key: Key, thing: Thing | None) -> None:
        held = self._shown.get(key)
        if thing is None:
            # A successor of the same name may have been shown by a relist already.
            if held is not None and held.uid in self._ended:
                del self._shown[key]
                self._announce(key, deleted=True)
            return
        outdated = held is not None and int(held.resource_version) >= int(thing.resource_version)
        if outdated or thing.uid in self._ended:
            return
        self._shown[key] = thing
        self._announce(key, deleted=False)

    def _announce(self, key: Key, *, deleted: bool) -> None:
        kind, name = key
        namespace = "" if kind is Kind.NODE else self.namespace
        self.listener(ObjectChange(kind=kind, namespace=namespace, name=name, deleted=deleted))
