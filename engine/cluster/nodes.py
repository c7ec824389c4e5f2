"""The Nodes of the target cluster: whose they are, what about them is news, and their end."""

from dataclasses import replace

import msgspec

from engine.cluster import paths, wire
from engine.cluster.api import Writer
from engine.cluster.cache import Cache
from engine.cluster.resource import with_finalizer
from engine.domain.wanted import NodeObject
from engine.ports.cluster import ObjectGoneError

GO_FINALIZER = "node.machine.sapcloud.io/machine-controller"
"""The Go controller leaves it on every Node; with nobody to take it off, Nodes could not be deleted any more."""


def device_of(provider_id: str) -> str:
    """Answer the device id at the end of a providerID; regions before it differ from writer to writer."""
    return provider_id.rsplit("/", 1)[-1].lower()


def suffix_of(node: NodeObject) -> str:
    """Answer the device id that the Node's providerID ends in, empty if it has none."""
    return device_of(node.provider_id)


def is_notable(before: NodeObject, after: NodeObject) -> bool:
    """Answer whether anything but the heartbeat changed; kubelets write one every few minutes."""
    return _without_heartbeat(before) != _without_heartbeat(after)


def node_cache() -> Cache[NodeObject]:
    """Answer a cache of Nodes, which also finds a Node by its device and takes no heartbeat for news."""
    return Cache(index=suffix_of, notable=is_notable)


class Nodes:
    """Finds the Node of a machine, and deletes it."""

    def __init__(self, *, cache: Cache[NodeObject], writer: Writer) -> None:
        self._cache = cache
        self._writer = writer

    def find(self, *, name: str, device_suffix: str) -> NodeObject | None:
        """Answer the Node of this name if it is not another device's, else the one of this device."""
        suffix = device_of(device_suffix)
        named = self._cache.get(name)
        if named and (not suffix or suffix_of(named) in {"", suffix}):
            return named
        return self._cache.find(suffix) if suffix else None

    def delete(self, node: NodeObject) -> None:
        """Ask for exactly this Node to be deleted, and take off what the Go controller would have taken off."""
        path = f"{paths.NODES}/{node.name}"
        try:
            answer = self._writer.delete("nodes", path, {"preconditions": {"uid": node.uid}})
            # The answer shows a Node that stays for the sake of its finalizers; so nothing has to be read before.
            finalizers = _finalizers(answer)
            if GO_FINALIZER in finalizers:
                rest = with_finalizer(finalizers, GO_FINALIZER, present=False)
                meta = wire.read_peek(answer).metadata
                guards = {"uid": node.uid, "resourceVersion": meta.resource_version}
                self._writer.patch("nodes", path, {"metadata": {**guards, "finalizers": rest}})
        except ObjectGoneError:
            return


def _finalizers(answer: bytes) -> list[str]:
    try:
        return wire.read_peek(answer).metadata.finalizers or []
    except msgspec.DecodeError:  # A Status, in some odd form: the Node is gone.
        return []


def _without_heartbeat(node: NodeObject) -> NodeObject:
    conditions = tuple(replace(condition, last_heartbeat_at=None) for condition in node.conditions)
    return replace(node, resource_version="", conditions=conditions)
