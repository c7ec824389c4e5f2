"""The ordinary `kubectl` against the embedded API server, over real HTTP and with our own definitions."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engine.clock import SystemClock
from engine.resources import manifests_path
from engine.simulators.http import HttpServer
from engine.simulators.kube import KubeSimulator, Ref
from engine.simulators.seed import Seed

KUBECTL = shutil.which("kubectl")
SECONDS_MAX = 60  # kubectl itself needs a second or two on a busy machine

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine")

MACHINE = Ref(api_version="machine.sapcloud.io/v1alpha1", kind="Machine", name="m-1")
MANIFESTS = """
apiVersion: machine.sapcloud.io/v1alpha1
kind: Machine
metadata: {name: m-1, labels: {team: a}}
spec: {class: {kind: MachineClass, name: small}}
---
apiVersion: machine.sapcloud.io/v1alpha1
kind: MachineSet
metadata: {name: set-1}
spec: {replicas: 1, template: {spec: {class: {kind: MachineClass, name: small}}}}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {providerID: "equinixmetal://ny/1"}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-1}
spec:
  nodeName: node-1
  containers: [{name: main, image: "web:1", env: [{name: A, value: small}]}]
"""


class Kubectl:
    """The program, with a kubeconfig for one server."""

    def __init__(self, server: KubeSimulator, url: str, home: Path) -> None:
        self.server = server
        (home / "config").write_text(json.dumps(server.kubeconfig(url)))
        self._environment = os.environ | {"KUBECONFIG": str(home / "config"), "HOME": str(home)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it and do not wait."""
        return subprocess.Popen(
            [str(KUBECTL), *arguments],
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, given: str = "", editor: str = "") -> str:
        """Run it to a good end and answer what it printed."""
        done = subprocess.run(
            [str(KUBECTL), *arguments],
            env=self._environment | {"KUBE_EDITOR": editor},
            input=given,
            text=True,
            capture_output=True,
            check=False,
            timeout=SECONDS_MAX,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """A kubectl whose server knows our definitions; the tests share it because discovery takes it a while."""
    server = KubeSimulator(clock=SystemClock(), seed=Seed("kubectl"))
    for path in sorted((manifests_path() / "crds").glob("*.yaml")):
        server.apply(yaml.safe_load(path.read_text()))
    with HttpServer(server.handle) as http:
        yield Kubectl(server, http.url, tmp_path_factory.mktemp("home"))
        server.close()


@pytest.fixture
def applied(kubectl: Kubectl) -> Iterator[Kubectl]:
    """The same with the manifests applied; whatever a test made is gone after it."""
    kubectl("apply", "-f", "-", given=MANIFESTS)
    yield kubectl
    kubectl("delete", "-f", "-", "--ignore-not-found", "--force", "--grace-period=0", given=MANIFESTS)


def test_apply_creates_changes_and_leaves_alone(applied: Kubectl) -> None:
    """Applying twice changes nothing; applying something else changes that, in built-in and custom kinds."""
    same = applied("apply", "-f", "-", given=MANIFESTS)
    changed = applied("apply", "-f", "-", given=MANIFESTS.replace("small", "big"))
    server_side = applied("apply", "--server-side", "--force-conflicts", "-f", "-", given=MANIFESTS)

    assert same.count("unchanged") == 4
    assert changed.splitlines() == [
        "machine.machine.sapcloud.io/m-1 configured",
        "machineset.machine.sapcloud.io/set-1 configured",
        "node/node-1 unchanged",
        "pod/pod-1 configured",
    ]
    assert server_side.count("serverside-applied") == 4


def test_apply_refuses_unknown_fields(applied: Kubectl) -> None:
    """A misspelt field is refused by the server's own validation, without a flag."""
    with pytest.raises(AssertionError, match=r'unknown field "spec\.clazz"'):
        applied("apply", "-f", "-", given=MANIFESTS.replace("class:", "clazz:"))


def test_get_shows_our_columns(applied: Kubectl) -> None:
    """The columns of the definitions are shown, the wide ones with `-o wide`; short names and YAML work too."""
    applied.server.patch(MACHINE, {"status": {"currentStatus": {"phase": "Running"}}})

    table = applied("get", "mc").splitlines()
    wide = applied("get", "machines", "-o", "wide", "-l", "team=a").splitlines()
    whole = yaml.safe_load(applied("get", "machine", "m-1", "-o", "yaml"))

    assert table[0].split() == ["NAME", "STATUS", "AGE", "NODE"]
    assert table[1].split()[:2] == ["m-1", "Running"]
    assert "PROVIDERID" in wide[0]
    assert whole["status"]["currentStatus"]["phase"] == "Running"
    assert applied("get", "nodes", "-o", "name") == "node/node-1\n"
    assert "m-1" in applied("get", "machines", "--chunk-size=1", "-A")


def test_describe_shows_the_events(applied: Kubectl) -> None:
    """A description of a Machine ends with its events."""
    machine = applied.server.read(MACHINE)
    assert machine
    applied.server.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "m-1.1", "namespace": "default"},
            "involvedObject": {
                "kind": "Machine",
                "name": "m-1",
                "namespace": "default",
                "uid": machine["metadata"]["uid"],
            },
            "reason": "DeviceOrdered",
            "message": "Ordered a device.",
            "type": "Normal",
            "source": {"component": "machine-engine"},
        }
    )

    described = applied("describe", "machine", "m-1")

    assert "DeviceOrdered" in described
    assert "Ordered a device." in applied("get", "events")


def test_edit_label_annotate_and_patch(applied: Kubectl) -> None:
    """All ways in which a person changes an object arrive."""
    applied("edit", "machine", "m-1", editor="sed -i s/small/large/")
    applied("label", "machine", "m-1", "zone=x")
    applied("annotate", "machine", "m-1", "example.org/note=hello")
    applied("patch", "node", "node-1", "-p", '{"spec":{"unschedulable":true}}')
    applied("patch", "machine", "m-1", "--type=json", "-p", '[{"op":"add","path":"/spec/providerID","value":"p"}]')
    applied("taint", "node", "node-1", "busy=yes:NoSchedule")

    machine = applied.server.read(MACHINE)
    assert machine
    assert machine["spec"] == {"class": {"kind": "MachineClass", "name": "large"}, "providerID": "p"}
    assert machine["metadata"]["labels"] == {"team": "a", "zone": "x"}
    assert machine["metadata"]["annotations"]["example.org/note"] == "hello"
    assert "SchedulingDisabled" in applied("get", "node", "node-1")


def test_scale_changes_a_machine_set(applied: Kubectl) -> None:
    """The scale subresource of the definitions is served."""
    applied("scale", "machineset", "set-1", "--replicas=3", "--current-replicas=1")

    assert applied("get", "machineset", "set-1", "-o", "jsonpath={.spec.replicas}") == "3"


def test_wait_sees_conditions_and_deletion(applied: Kubectl) -> None:
    """Waiting ends when the status says so, and a deletion when the last finalizer is gone."""
    applied.server.patch(MACHINE, {"metadata": {"finalizers": ["example.org/hold"]}})
    waiting = applied.start(
        "wait", "--for=jsonpath={.status.currentStatus.phase}=Running", "machine/m-1", "--timeout=30s"
    )
    applied.server.patch(MACHINE, {"status": {"currentStatus": {"phase": "Running"}}})
    running, _ = waiting.communicate(timeout=SECONDS_MAX)

    deleting = applied.start("delete", "machine", "m-1", "--timeout=30s")
    applied("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "machine/m-1", "--timeout=30s")
    applied.server.patch(MACHINE, {"metadata": {"finalizers": None}})
    deleted, _ = deleting.communicate(timeout=SECONDS_MAX)

    assert "condition met" in running
    assert "deleted" in deleted
    assert (waiting.returncode, deleting.returncode) == (0, 0)
    assert applied.server.read(MACHINE) is None


def test_watch_shows_rows_as_they_change(applied: Kubectl) -> None:
    """`get -w` prints one row per change under one head."""
    watching = applied.start("get", "machines", "-w")
    output = watching.stdout
    assert output
    head, first = output.readline(), output.readline()
    applied.server.patch(MACHINE, {"status": {"currentStatus": {"phase": "Running"}}})
    second = output.readline()
    os.killpg(watching.pid, signal.SIGKILL)  # some distributions' kubectl is a starter with a child
    watching.communicate(timeout=SECONDS_MAX)

    assert head.split() == ["NAME", "STATUS", "AGE", "NODE"]
    assert first.split()[0] == second.split()[0] == "m-1"
    assert "Running" in second


def test_create_with_generated_types(kubectl: Kubectl) -> None:
    """Kinds that kubectl builds itself arrive although it writes them in protobuf."""
    kubectl("create", "namespace", "team")
    kubectl("create", "secret", "generic", "key", "--from-literal=token=abc", "-n", "team")
    kubectl("create", "configmap", "map", "--from-literal=a=b", "-n", "team")
    kubectl("create", "pdb", "budget", "--selector=app=web", "--min-available=50%", "-n", "team")

    assert kubectl("get", "secret", "key", "-n", "team", "-o", "jsonpath={.data.token}") == "YWJj"
    assert kubectl("get", "configmap", "map", "-n", "team", "-o", "jsonpath={.data.a}") == "b"
    assert kubectl("get", "pdb", "budget", "-n", "team", "-o", "jsonpath={.spec.minAvailable}") == "50%"
    kubectl("delete", "namespace", "team")


def test_drain_evicts_the_pods(applied: Kubectl) -> None:
    """A drained node is cordoned and its pods are evicted; they are gone when their kubelet ends them."""
    draining = applied.start("drain", "node-1", "--force", "--timeout=30s")
    pod = Ref(api_version="v1", kind="Pod", name="pod-1")
    applied("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "pod/pod-1", "--timeout=30s")
    applied.server.end_terminating_pods()
    output, _ = draining.communicate(timeout=SECONDS_MAX)

    assert "drained" in output
    assert draining.returncode == 0
    assert applied.server.read(pod) is None


def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    """The schemas of the definitions are explained, and every kind is listed."""
    assert "<Object>" in kubectl("explain", "machine.spec.class")
    assert "machinedeployments" in kubectl("api-resources")
    assert kubectl("auth", "can-i", "delete", "machines") == "yes\n"
    assert "Server Version" in kubectl("version")
