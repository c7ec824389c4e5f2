"""The parts of the port that a well-behaved API server never exercises."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster.cache import Cache
from engine.cluster.connect import ClusterOptions
from engine.cluster.kube import KubeCluster, open_cluster
from engine.cluster.nodes import is_notable, suffix_of
from engine.cluster.objects import read_class, read_machine, read_node, read_secret
from engine.cluster.secrets import LEFT_OUT, Secrets
from engine.domain.wanted import SECRET_FINALIZER, ClassObject, NodeObject, SecretObject, SecretReference
from engine.ports.cluster import (
    ClusterUnavailableError,
    ConflictError,
    Kind,
    MachinePatch,
    ObjectChange,
    ObjectGoneError,
)
from engine.simulators.http import HttpRequest, HttpResponse, HttpServer
from tests.unit.cluster.stub import Json, Script, answer, kubeconfig_text, listing, machine, refusal, stream

KEY = SecretReference(namespace="", name="key")


def secret_text(name: str = "key", **metadata: object) -> bytes:
    return json.dumps({**machine(name, metadata=metadata), "data": {"token": "dA=="}}).encode()


class Shelf:
    """The Secrets with a class that names `key`, and a server that is asked for what is missing."""

    def __init__(self, reply: Callable[[], bytes]) -> None:
        self.asked: list[str] = []
        self.classes: Cache[ClassObject] = Cache()
        self.cache: Cache[SecretObject] = Cache()

        def fetch(name: str) -> bytes:
            self.asked.append(name)
            return reply()

        self.secrets = Secrets(namespace="shoot", classes=self.classes, fetch=fetch, cache=self.cache)

    def name_key(self, namespace: str = "") -> None:
        """A class names the Secret."""
        found = {**machine("small"), "secretRef": {"name": "key", "namespace": namespace}}
        self.classes.apply(read_class(json.dumps(found).encode()))


def test_data_that_does_not_concern_us_is_not_kept() -> None:
    """A Secret that nobody names is known without its data, and is asked for once when a class comes to name it."""
    shelf = Shelf(secret_text)
    shelf.cache.apply(shelf.secrets.read(secret_text()))
    known = shelf.cache.get("key")
    assert known
    assert known.data is LEFT_OUT
    shelf.name_key()
    for _ in range(3):
        found = shelf.secrets.get(KEY)
        assert found
        assert found.data == {"token": b"t"}
    assert shelf.asked == ["key"]


@pytest.mark.parametrize("namespace", ["", "shoot"])
def test_data_that_concerns_us_is_kept(namespace: str) -> None:
    """A named Secret, or one with our finalizer, is kept whole as it comes; nobody is asked."""
    shelf = Shelf(secret_text)
    shelf.name_key(namespace)
    assert shelf.secrets.read(secret_text()).data == {"token": b"t"}
    assert shelf.secrets.read(secret_text("other", finalizers=[SECRET_FINALIZER])).data == {"token": b"t"}
    assert shelf.secrets.read(secret_text("third")).data is LEFT_OUT
    assert shelf.asked == []


def test_a_class_that_names_another_namespace_names_nothing_of_ours() -> None:
    """The Secret of the same name in our namespace does not concern us."""
    shelf = Shelf(secret_text)
    shelf.name_key("elsewhere")
    shelf.cache.apply(shelf.secrets.read(secret_text()))
    assert shelf.secrets.all() == []
    assert shelf.secrets.get(SecretReference(namespace="elsewhere", name="key")) is None


def test_a_secret_that_went_in_between_is_not_there() -> None:
    """Asked for and gone: None, and no error."""

    def gone() -> bytes:
        raise ObjectGoneError("gone")

    shelf = Shelf(gone)
    shelf.cache.apply(shelf.secrets.read(secret_text()))
    shelf.name_key()
    assert shelf.secrets.get(KEY) is None
    assert shelf.secrets.all() == []


def node(name: str, provider_id: str, **more: object) -> NodeObject:
    metadata = {**machine(name)["metadata"], **more}
    return read_node(json.dumps({"metadata": metadata, "spec": {"providerID": provider_id}}).encode())


@pytest.mark.parametrize(
    ("provider_id", "suffix"),
    [("equinixmetal://da/ABC-1", "abc-1"), ("equinixmetal://abc-1", "abc-1"), ("abc-1", "abc-1"), ("", "")],
)
def test_the_device_is_the_end_of_the_provider_id(provider_id: str, suffix: str) -> None:
    """Regions and case differ from writer to writer; the device does not."""
    assert suffix_of(node("n", provider_id)) == suffix


def test_a_heartbeat_is_no_news() -> None:
    """Only what a reader would decide by counts as a change of a Node."""

    def ready(status: str, heartbeat: str, version: int) -> NodeObject:
        condition = {"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}
        found = {**machine("n", version), "spec": {}, "status": {"conditions": [condition]}}
        return read_node(json.dumps(found).encode())

    before = ready("True", "2026-01-01T00:00:00Z", 1)
    assert not is_notable(before, ready("True", "2026-01-01T00:05:00Z", 2))
    assert is_notable(before, ready("False", "2026-01-01T00:00:00Z", 2))


@contextmanager
def cluster_of(handle: Script, folder: Path) -> Iterator[KubeCluster]:
    with HttpServer(handle) as server:
        path = folder / "kubeconfig"
        path.write_text(kubeconfig_text(server.url), "utf-8")
        options = ClusterOptions(control_kubeconfig=str(path), target_kubeconfig="none", namespace="shoot", qps=1_000)
        cluster = open_cluster(options, clock=SystemClock())
        yield cluster
        cluster.stop()


def test_a_race_that_is_always_lost_ends(tmp_path: Path) -> None:
    """Somebody who writes between each reading and writing of ours wins in the end, and the caller hears of it."""
    writes: list[Json] = []

    def handle(request: HttpRequest) -> HttpResponse:
        if request.method == "PATCH":
            writes.append(json.loads(request.body)["metadata"])
            return refusal(409)
        return answer(machine("m", 10 + len(writes)))

    found = read_machine(json.dumps(machine("m")).encode())
    with cluster_of(handle, tmp_path) as cluster, pytest.raises(ConflictError, match="5 times"):
        cluster.patch_machine(found, MachinePatch(add_finalizer=True))
    assert [write["resourceVersion"] for write in writes] == ["1", "11", "12", "13", "14"]
    assert {write["uid"] for write in writes} == {"uid-m"}
    assert cluster.writes == {("patch", "machines"): 5}


def test_an_answer_that_cannot_be_read_is_no_success(tmp_path: Path) -> None:
    """The write may have happened; it is repeated later."""
    found = read_machine(json.dumps(machine("m")).encode())
    with (
        cluster_of(lambda _request: answer({"kind": "Odd"}), tmp_path) as cluster,
        pytest.raises(ClusterUnavailableError),
    ):
        cluster.patch_machine(found, MachinePatch(labels={"a": "b"}))


def test_unreadable_objects_are_named(tmp_path: Path) -> None:
    """Whoever looks for orphans can see that a Machine is there although nobody can read it."""

    def handle(request: HttpRequest) -> HttpResponse:
        if "watch" in request.query:
            return stream()
        bad = machine("bad", metadata={"creationTimestamp": None})
        return listing(bad) if request.path.endswith("/machines") else listing()

    heard: list[ObjectChange] = []
    with cluster_of(handle, tmp_path) as cluster:
        cluster.start(heard.append)
        for reflector in cluster._reflectors.values():
            assert reflector.synced.wait(5)
        assert cluster.synced()
        assert cluster.unreadable == [(Kind.MACHINE, "bad")]
    assert heard == []


def test_secrets_are_decoded_whole() -> None:
    """What the API server holds is what a provider gets."""
    assert read_secret(secret_text()).data == {"token": b"t"}
