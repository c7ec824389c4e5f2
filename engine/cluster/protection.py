"""Our finalizer on what Machines depend on: on their classes, and on the Secrets that these name."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from engine.cluster.resource import Finalized, Resource, with_finalizer
from engine.ports.cluster import ObjectGoneError

T = TypeVar("T", bound=Finalized)


class Protection(Generic[T]):
    """Puts one finalizer on the objects of one resource and takes it off."""

    def __init__(self, resource: Resource[T], *, finalizer: str) -> None:
        self._resource = resource
        self._finalizer = finalizer

    def put(self, item: T) -> None:
        """The object carries the finalizer."""
        self._set(item, present=True)

    def take_off(self, item: T) -> None:
        """The object does not carry the finalizer, or it is gone."""
        try:
            self._set(item, present=False)
        except ObjectGoneError:
            return

    def _set(self, item: T, *, present: bool) -> None:
        def make(newest: T) -> Mapping[str, Any] | None:
            if (self._finalizer in newest.finalizers) == present:
                return None
            return {"metadata": {"finalizers": with_finalizer(newest.finalizers, self._finalizer, present=present)}}

        self._resource.patch_newest(item, make)
