"""The embedded API server as one thing: a function from requests to answers, and short ways for programs beside it."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.clock import Clock
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.kube.api import Api
from engine.simulators.kube.cluster import Cluster
from engine.simulators.kube.errors import StatusError, bad_request
from engine.simulators.kube.kinds import Json
from engine.simulators.kube.objects import ObjectStore
from engine.simulators.kube.patches import merge
from engine.simulators.kube.persistence import ObjectLog
from engine.simulators.kube.removals import DeleteOptions
from engine.simulators.kube.resources import Resources
from engine.simulators.kube.watches import Watches
from engine.simulators.kube.writes import Part, Target, WriteOptions
from engine.simulators.seed import Seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Which object is meant; the namespace is not looked at for kinds of the whole cluster."""

    api_version: str
    kind: str
    name: str = ""
    namespace: str = "default"


class KubeSimulator:
    """A Kubernetes API server in one process; hand `handle` to an `HttpServer`, or call it.

    Objects outlive the process when a file is given. Nobody needs a token unless one is set.
    """

    def __init__(self, *, clock: Clock, seed: Seed, file: Path | None = None, token: str | None = None) -> None:
        self._log = ObjectLog(file) if file else None
        self._store = ObjectStore(self._log)
        if self._log:
            self._store.load(self._log.revision, self._log.objects())
            # A restarted server must not give out the identities of its former life again.
            seed = seed.child(f"revision {self._log.revision}")
        self._cluster = Cluster(self._store, clock, seed.child("identities"))
        self._watches = Watches(self._store, clock)
        self._token = token
        resources = Resources(self._cluster, self._watches, clock, seed.child("watches"))
        self._api = Api(self._cluster.registry, resources, token)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; safe to call from many threads."""
        return self._api.answer(request)

    def close(self) -> None:
        """End all watches and leave the file to the next server."""
        self._watches.close()
        with self._store.lock:
            if self._log:
                self._log.close()

    def kubeconfig(self, url: str, *, authority: bytes | None = None) -> Json:
        """Answer a kubeconfig for this server at that address; the authority is the PEM for checking its TLS."""
        cluster: Json = {"server": url}
        if authority:
            cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
        user = {"token": self._token} if self._token else {}
        context = {"cluster": "embedded", "user": "embedded", "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "embedded", "cluster": cluster}],
            "users": [{"name": "embedded", "user": user}],
            "contexts": [{"name": "embedded", "context": context}],
            "current-context": "embedded",
        }

    def apply(self, manifest: Json) -> Json:
        """Create the object, or merge the manifest into the one that is there; its status is taken too."""
        metadata = manifest["metadata"]
        ref = Ref(
            api_version=manifest["apiVersion"],
            kind=manifest["kind"],
            name=metadata["name"],
            namespace=metadata.get("namespace", "default"),
        )
        target = self._target(ref)
        with self._store.lock:
            if self._store.get(target.key) is None:
                self._cluster.create(target, merge({}, manifest), WriteOptions())
            return self.patch(ref, manifest)

    def read(self, ref: Ref) -> Json | None:
        """Answer a copy of the object, or None."""
        target = self._target(ref)
        stored = self._store.get(target.key)
        return target.kind.shown(stored.copy()) if stored else None

    def listed(self, ref: Ref) -> list[Json]:
        """Answer copies of all objects of the kind; an empty namespace means all of them."""
        target = self._target(ref)
        namespace = ref.namespace if target.kind.namespaced else ""
        return [target.kind.shown(stored.copy()) for stored in self._store.listed(target.kind.shelf, namespace)]

    def patch(self, ref: Ref, patch: Json) -> Json:
        """Merge the patch into the object, its status included, and answer what came of it."""
        target = self._target(ref)
        with self._store.lock:
            stored = self._cluster.update(target, _merging(patch), WriteOptions())
            if "status" in patch and target.kind.has_status and self._store.get(target.key):
                status = {"status": patch["status"]}
                stored = self._cluster.update(target, _merging(status), WriteOptions(part=Part.STATUS))
        return target.kind.shown(stored.copy())

    def delete(self, ref: Ref, *, grace_seconds: int | None = None) -> bool:
        """Delete the object; answer whether it is gone now (it is not while finalizers hold it)."""
        target = self._target(ref)
        if self._store.get(target.key) is None:
            return True
        try:
            return self._cluster.delete(target, DeleteOptions(grace_seconds=grace_seconds)).gone
        except StatusError as error:
            if error.refusal.code == 404:
                return True
            raise

    def end_terminating_pods(self) -> int:
        """Do what kubelets do: let pods that are being deleted go; answer how many there were."""
        return self._cluster.end_terminating_pods()

    def forget_changes(self) -> None:
        """Do what etcd's compaction does: older watches and pages are answered with 410 Gone from now on."""
        self._store.forget_changes()

    def _target(self, ref: Ref) -> Target:
        target = self._cluster.target(ref.api_version, ref.kind, ref.name, ref.namespace)
        if target is None:
            raise bad_request(f'no matches for kind "{ref.kind}" in version "{ref.api_version}"')
        return target


def _merging(patch: Json) -> Callable[[Json], Json]:
    def change(current: Json) -> Json:
        merged: Json = merge(current, patch)
        return merged

    return change
