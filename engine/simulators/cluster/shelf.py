"""The objects of one simulated cluster as the API server has them; what a reader sees of them is the watch's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from engine.clock import Clock
from engine.cluster.cache import Change
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject
from engine.ports.cluster import Kind, ObjectChange
from engine.simulators.cluster.watch import Answer, Happened, Thing, Watch
from engine.simulators.seed import Seed

T = TypeVar("T", MachineObject, ClassObject, SecretObject, NodeObject)

_KINDS: dict[type[Thing], Kind] = {
    MachineObject: Kind.MACHINE,
    ClassObject: Kind.CLASS,
    SecretObject: Kind.SECRET,
    NodeObject: Kind.NODE,
}


class Shelf:
    """Objects by kind and name, with resource versions and finalizers, and the watch that shows them."""

    def __init__(self, *, clock: Clock, seed: Seed, namespace: str) -> None:
        self.namespace = namespace
        self.listener: Callable[[ObjectChange], None] = lambda _change: None
        self.watch = Watch(clock=clock, tell=self._announce)
        self._clock = clock
        self._seed = seed
        self._truth: dict[Kind, dict[str, Thing]] = {kind: {} for kind in Kind}
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
        return cast("T | None", self._truth[_KINDS[kind]].get(name))

    def shown(self, kind: type[T], name: str) -> T | None:
        """Answer the object as the watch has shown it."""
        return cast("T | None", self.watch.shown(_KINDS[kind], name))

    def shown_by_key(self, kind: type[T], key: str) -> T | None:
        """Answer the object with this second key as the watch has shown it."""
        return cast("T | None", self.watch.shown_by_key(_KINDS[kind], key))

    def all_true(self, kind: type[T]) -> list[T]:
        """Answer every object of the kind, as the API server has them."""
        return cast("list[T]", list(self._truth[_KINDS[kind]].values()))

    def all_shown(self, kind: type[T]) -> Sequence[T]:
        """Answer every object of the kind, as the watch has shown them."""
        return cast("Sequence[T]", self.watch.all_shown(_KINDS[kind]))

    def put(self, thing: T, answer: Answer = Answer.NOTHING, **changes: Any) -> T:
        """Store the object with these changes, under a new version."""
        kept = cast("T", replace(cast("Any", thing), resource_version=self.version(), **changes))
        self._truth[_KINDS[type(thing)]][thing.name] = kept
        self._note(kept, kept, answer)
        return kept

    def remove(self, thing: Thing, answer: Answer = Answer.NOTHING) -> None:
        """Take the object off the shelf."""
        del self._truth[_KINDS[type(thing)]][thing.name]
        self.version()
        self._note(thing, None, answer)

    def answer(self, thing: T) -> T:
        """Have the writer read this object as it is."""
        self.watch.answer(_KINDS[type(thing)], thing)
        return thing

    def settle(self, thing: T, answer: Answer = Answer.NOTHING) -> T | None:
        """Store the object, unless it is being deleted and no finalizer holds it: then it vanishes, and None is it."""
        finalizers = getattr(thing, "finalizers", ())
        if getattr(thing, "deletion_requested_at", None) and not finalizers:
            self.remove(thing, answer)
            return None
        return self.put(thing, answer)

    def relist(self) -> None:
        """Have the watch begin anew, with a list of everything."""
        self.watch.relist(self._truth, self._version)

    def _note(self, thing: Thing, after: Thing | None, answer: Answer) -> None:
        happened = Happened(
            at=self._clock.now(),
            version=self._version,
            kind=_KINDS[type(thing)],
            name=thing.name,
            uid=thing.uid,
            thing=after,
        )
        self.watch.note(happened, answer)

    def _announce(self, kind: Kind, change: Change) -> None:
        namespace = "" if kind is Kind.NODE else self.namespace
        self.listener(ObjectChange(kind=kind, namespace=namespace, name=change.name, deleted=change.deleted))
