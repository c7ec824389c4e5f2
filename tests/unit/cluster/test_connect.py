"""Kubeconfigs, pods, and all the ways to get them wrong."""

from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from engine.clock import SystemClock
from engine.cluster.connect import ApiServers, ClusterOptions, connect
from engine.errors import ConfigurationError
from engine.simulators.http import HttpRequest, HttpResponse, HttpServer
from tests.unit.cluster.stub import answer, kubeconfig_text


@pytest.fixture
def one(tmp_path: Path) -> str:
    """A kubeconfig."""
    path = tmp_path / "one"
    path.write_text(kubeconfig_text("http://one.example"), "utf-8")
    return str(path)


@pytest.fixture
def other(tmp_path: Path) -> str:
    """Another kubeconfig."""
    path = tmp_path / "other"
    path.write_text(kubeconfig_text("http://other.example"), "utf-8")
    return str(path)


def opened(control: str, target: str, namespace: str = "shoot", qps: float = 20) -> ApiServers:
    options = ClusterOptions(control_kubeconfig=control, target_kubeconfig=target, namespace=namespace, qps=qps)
    return connect(options, clock=SystemClock())


def test_control_and_target_may_differ(one: str, other: str) -> None:
    """Each kubeconfig leads to its own server."""
    servers = opened(one, other)
    assert servers.target
    assert (servers.control.url, servers.target.url) == ("http://one.example", "http://other.example")


@pytest.mark.parametrize("control", ["", "same"])
def test_control_defaults_to_target(one: str, control: str) -> None:
    """An empty control is the target, and equal paths share one pool of connections."""
    servers = opened(one if control else "", one)
    assert servers.control is servers.target


def test_there_may_be_no_target(one: str) -> None:
    """`none` as target leaves the control cluster alone."""
    servers = opened(one, "none")
    assert servers.target is None
    assert servers.control.url == "http://one.example"


@pytest.mark.parametrize(
    ("control", "target", "words"),
    [
        ("", "none", "name a control cluster"),
        ("none", "none", "only the target may be"),
        ("none", "/nowhere", "only the target may be"),
        ("", "/nowhere/at/all", "there is no such file"),
        ("", "", "name a kubeconfig file"),
        ("inClusterConfig", "none", "KUBERNETES_SERVICE_HOST is not set"),
    ],
)
def test_a_contradiction_is_named(monkeypatch: pytest.MonkeyPatch, control: str, target: str, words: str) -> None:
    """The error says which setting is wrong and what to write instead."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=words):
        opened(control, target)


def test_a_namespace_and_a_pace_are_needed(one: str) -> None:
    """Without them nothing could work."""
    with pytest.raises(ConfigurationError, match="namespace"):
        opened(one, one, namespace="")
    with pytest.raises(ConfigurationError, match="qps"):
        opened(one, one, qps=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just a word",
        "[1, 2]",
        "{",
        "{}",
        '{"current-context": "x"}',
        '{"current-context": "gone", "contexts": [], "clusters": [], "users": []}',
        '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}], "clusters": []}',
        '{"current-context": "x", "contexts": 5, "clusters": 5}',
        (
            '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}],'
            ' "clusters": [{"name": "c", "cluster": {}}]}'
        ),
    ],
)
def test_a_broken_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the error names the file."""
    path = tmp_path / "broken"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=str(path)):
        opened("", str(path))


@pytest.mark.parametrize("target", ["", "inClusterConfig"])
def test_a_pod_uses_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """In a pod, an empty path and the word both mean the pod's own cluster."""
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("secret", "utf-8")
    certificate.write_text("certificate", "utf-8")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    servers = opened("", target)
    assert servers.control is servers.target
    assert servers.control.url == "https://10.0.0.1:443"


def test_a_pod_without_an_account_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account may not be mounted; the error says what is missing."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="service account cannot be used"):
        opened("", "")


def test_an_address_with_a_path_is_kept(tmp_path: Path) -> None:
    """Servers behind a proxy live under a path; requests go there."""
    asked: list[str] = []

    def handle(request: HttpRequest) -> HttpResponse:
        asked.append(request.path)
        return answer({})

    with HttpServer(handle) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig_text(f"{server.url}/k8s/clusters/c-1/"), "utf-8")
        servers = opened("", str(path))
        servers.control.call("GET", "/version")
        servers.close()
    assert asked == ["/k8s/clusters/c-1/version"]
