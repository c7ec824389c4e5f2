"""The Secrets of the namespace: all are watched, but only those that concern us keep their data in memory."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from engine.cluster import objects, wire
from engine.cluster.cache import Cache
from engine.domain.wanted import SECRET_FINALIZER, ClassObject, SecretObject, SecretReference
from engine.ports.cluster import ObjectGoneError

LEFT_OUT: Mapping[str, bytes] = MappingProxyType({})
"""Stands for data that was not kept; recognised by identity."""


class Secrets:
    """Which Secrets concern us: those that carry our finalizer, and those that a MachineClass names."""

    def __init__(
        self, *, namespace: str, classes: Cache[ClassObject], fetch: Callable[[str], bytes], cache: Cache[SecretObject]
    ) -> None:
        """`fetch` answers the JSON of the Secret of a name."""
        self._namespace = namespace
        self._classes = classes
        self._fetch = fetch
        self._cache = cache

    def read(self, raw: bytes) -> SecretObject:
        """Answer the Secret that this JSON shows, without its data if it does not concern us."""
        meta = wire.read_peek(raw).metadata
        concerns = SECRET_FINALIZER in (meta.finalizers or ()) or self._is_named(meta.name)
        return objects.read_secret(raw) if concerns else objects.read_secret_without(raw, LEFT_OUT)

    def get(self, reference: SecretReference) -> SecretObject | None:
        """Answer the Secret, with its data, unless it is outside the namespace."""
        if not self._is_ours(reference):
            return None
        found = self._cache.get(reference.name)
        return self._completed(found) if found else None

    def all(self) -> Sequence[SecretObject]:
        """Answer every Secret that concerns us, with its data."""
        concerned = [
            found for found in self._cache.all() if SECRET_FINALIZER in found.finalizers or self._is_named(found.name)
        ]
        completed = [self._completed(found) for found in concerned]
        return [secret for secret in completed if secret]

    def _completed(self, found: SecretObject) -> SecretObject | None:
        """A class names the Secret only since it was last seen: its data has to be asked for, once."""
        if found.data is not LEFT_OUT:
            return found
        try:
            secret = objects.read_secret(self._fetch(found.name))
        except ObjectGoneError:
            return None
        self._cache.answer(secret, guarded=False)
        return secret

    def _is_ours(self, reference: SecretReference) -> bool:
        return reference.namespace in {"", self._namespace}

    def _is_named(self, name: str) -> bool:
        return any(
            reference and reference.name == name and self._is_ours(reference)
            for found in self._classes.all()
            for reference in (found.secret, found.credentials_secret)
        )
