"""What a user of Kubernetes does beside the controller under test, and what a test sees of it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

MERGE = "application/merge-patch+json"
MACHINES_API = "/apis/machine.sapcloud.io/v1alpha1"
CRDS = Path(__file__).resolve().parents[2] / "kubernetes" / "crds"
Json = dict[str, Any]


class RefusedError(Exception):
    """The API server refused what the user wanted."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class User:
    """Somebody with a kubeconfig and a namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        configuration = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]  # the package is half typed
            config_file=str(kubeconfig), client_configuration=configuration
        )
        self.namespace = namespace
        self._client = ApiClient(configuration)
        self._nodes: list[str] = []

    def request(self, method: str, path: str, body: Json | None = None, content: str = "application/json") -> Json:
        """What the API server answers."""
        answer = self._client.rest_client.pool_manager.request(
            method,
            f"{self._client.configuration.host}{path}",
            body=json.dumps(body) if body is not None else None,
            headers={"Content-Type": content},
        )
        if answer.status >= 300:
            raise RefusedError(answer.status, answer.data.decode())
        found: Json = json.loads(answer.data)
        return found

    def close(self) -> None:
        """Nodes, which live in no namespace, are gone; connections are closed."""
        for name in self._nodes:
            with suppress(RefusedError):
                self.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"finalizers": None}}, MERGE)
                self.request("DELETE", f"/api/v1/nodes/{name}")
        self._client.close()  # type: ignore[no-untyped-call]  # the package is half typed

    def install_crds(self) -> None:
        """The API server knows Machines and their classes."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for manifest in sorted(CRDS.glob("*.yaml")):
            for definition in yaml.safe_load_all(manifest.read_text("utf-8")):
                self.request("POST", path, definition)

    def make_namespace(self) -> None:
        """The namespace is there."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def path(self, resource: str, name: str = "") -> str:
        """Where a resource of the namespace is."""
        api = MACHINES_API if resource in {"machines", "machineclasses"} else "/api/v1"
        scope = "" if resource == "nodes" else f"/namespaces/{self.namespace}"
        return f"{api}{scope}/{resource}{'/' + name if name else ''}"

    def get(self, resource: str, name: str) -> Json:
        """The object as it is now."""
        return self.request("GET", self.path(resource, name))

    def exists(self, resource: str, name: str) -> bool:
        """Whether the object is there."""
        try:
            self.get(resource, name)
        except RefusedError as error:
            if error.status == 404:
                return False
            raise
        return True

    def patch(self, resource: str, name: str, patch: Json, subresource: str = "") -> Json:
        """The object after a merge patch."""
        return self.request("PATCH", self.path(resource, name) + subresource, patch, MERGE)

    def delete(self, resource: str, name: str) -> None:
        """Deletion of the object is asked for."""
        self.request("DELETE", self.path(resource, name))

    def make_machine(self, name: str, *, finalizers: tuple[str, ...] = (), **more: Json) -> Json:
        """A Machine of class `small`, with `spec` and `metadata` as given."""
        metadata = {"name": name, "finalizers": list(finalizers), **more.get("metadata", {})}
        spec = {"class": {"kind": "MachineClass", "name": "small"}, **more.get("spec", {})}
        body = {"apiVersion": "machine.sapcloud.io/v1alpha1", "kind": "Machine", "metadata": metadata, "spec": spec}
        return self.request("POST", self.path("machines"), body)

    def make_class(self, name: str, **more: Any) -> Json:
        """A MachineClass with the top-level fields as given."""
        body = {
            "apiVersion": "machine.sapcloud.io/v1alpha1",
            "kind": "MachineClass",
            "metadata": {"name": name},
            "provider": "EquinixMetal",
            "providerSpec": {"metro": "da", "tags": ["a", "b"]},
            **more,
        }
        return self.request("POST", self.path("machineclasses"), body)

    def make_secret(self, name: str, *, finalizers: tuple[str, ...] = (), **data: str) -> Json:
        """A Secret with this text in it."""
        metadata = {"name": name, "finalizers": list(finalizers)}
        return self.request("POST", self.path("secrets"), {"metadata": metadata, "stringData": data})

    def make_node(self, name: str, *, provider_id: str = "", finalizers: tuple[str, ...] = ()) -> Json:
        """A Node of this name, made unique to the namespace by `node_name`."""
        metadata = {"name": self.node_name(name), "finalizers": list(finalizers), "labels": {"made-by": "test"}}
        self._nodes.append(self.node_name(name))
        return self.request("POST", "/api/v1/nodes", {"metadata": metadata, "spec": {"providerID": provider_id}})

    def node_name(self, name: str) -> str:
        """The name of a Node that no other test uses."""
        return f"{self.namespace}-{name}"

    def events_of(self, name: str) -> list[Json]:
        """The Events about the Machine of this name."""
        found = self.request("GET", self.path("events"))
        return [event for event in found["items"] if event["involvedObject"]["name"] == name]
