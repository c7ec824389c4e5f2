"""One resource that is written to: the request, its guards, and the way of its answer into the cache."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from engine.cluster.api import ApiServer, Writer
from engine.cluster.cache import Cache, Versioned, is_older
from engine.cluster.reflector import UNREADABLE
from engine.ports.cluster import ClusterUnavailableError, ConflictError, ObjectGoneError

TRIES_MAX = 5  # each lost race means that somebody else wrote within milliseconds; five in a row are no accident


class Finalized(Versioned, Protocol):
    """What every object has whose finalizers matter to us."""

    @property
    def finalizers(self) -> tuple[str, ...]:
        """Who wants to be asked before the object goes."""
        ...

    @property
    def deletion_requested_at(self) -> datetime | None:
        """When its deletion was asked for."""
        ...


T = TypeVar("T", bound=Finalized)


class Resource(Generic[T]):
    """The objects of one resource in one namespace, as something to write to."""

    def __init__(
        self, *, name: str, path: str, read: Callable[[bytes], T], api: ApiServer, writer: Writer, cache: Cache[T]
    ) -> None:
        self.name = name
        self._path = path
        self._read = read
        self._api = api
        self._writer = writer
        self._cache = cache

    def newest(self, item: T) -> T:
        """Answer the newest version of exactly this object that we have seen."""
        cached = self._cache.get(item.name)
        if cached is None or cached.uid != item.uid or is_older(cached.resource_version, item.resource_version):
            return item
        return cached

    def fetch(self, name: str) -> bytes:
        """Answer the JSON of the object as it is now."""
        return self._api.call("GET", f"{self._path}/{name}")

    def refresh(self, item: T) -> T:
        """Answer exactly this object as it is now; raise ObjectGoneError when it is not there any more."""
        found = self._decode(self.fetch(item.name))
        if found.uid != item.uid:
            raise ObjectGoneError(f"{self.name}/{item.name}: another object took its name")
        self._cache.answer(found, guarded=False)
        return found

    def patch(
        self,
        item: T,
        *,
        metadata: Mapping[str, Any] | None = None,
        parts: Mapping[str, Any] | None = None,
        base: T | None = None,
        subresource: str = "",
    ) -> T:
        """Send a merge patch to exactly this object; with `base`, only if that is still its version."""
        guards = {"uid": item.uid} | ({"resourceVersion": base.resource_version} if base else {})
        body = {"metadata": {**(metadata or {}), **guards}, **(parts or {})}
        answer = self._writer.patch(self.name + subresource, f"{self._path}/{item.name}{subresource}", body)
        after = self._decode(answer)
        if after.deletion_requested_at and not after.finalizers:
            # Nobody wants to be asked any more: with this answer the object was deleted.
            self._cache.bury(after.name, after.uid)
        else:
            self._cache.answer(after, guarded=base is not None)
        return after

    def patch_newest(self, item: T, make: Callable[[T], Mapping[str, Any] | None], *, subresource: str = "") -> T:
        """Patch exactly this object with what `make` answers for its newest version, until nobody wrote in between.

        `make` answers the parts of the patch, with `metadata` among them if need be, or None when all is well already.
        """
        newest = self.newest(item)
        for _ in range(TRIES_MAX):
            parts = make(newest)
            if parts is None:
                return newest
            metadata = parts.get("metadata")
            try:
                return self.patch(
                    newest, metadata=metadata, parts=_without(parts), base=newest, subresource=subresource
                )
            except ConflictError:
                newest = self.refresh(item)
        raise ConflictError(f"{self.name}/{item.name}: changed by somebody else {TRIES_MAX} times in a row")

    def _decode(self, body: bytes) -> T:
        try:
            return self._read(body)
        except UNREADABLE as error:
            raise ClusterUnavailableError(f"{self.name}: the answer cannot be read: {error}") from error


def with_finalizer(finalizers: Sequence[str], finalizer: str, *, present: bool) -> list[str]:
    """Answer the list with the finalizer in it once, or not at all; the others stay in their order."""
    others = [other for other in finalizers if other != finalizer]
    return [*others, finalizer] if present else others


def _without(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in parts.items() if key != "metadata"}
