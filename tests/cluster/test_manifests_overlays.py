"""What kubectl makes of the controller's own manifests."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import __version__

pytestmark = pytest.mark.controlplane

MANIFESTS = Path(__file__).resolve().parents[2] / "kubernetes"
OVERLAYS = [
    "overlays/single-cluster",
    "overlays/postgres",
    "overlays/two-clusters/control",
    "overlays/two-clusters/target",
]
PORT = 10259


class Build:
    """The objects of one kustomization."""

    def __init__(self, kubectl: Path, folder: str) -> None:
        done = subprocess.run(
            [kubectl, "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "deprecated" not in done.stderr
        self.objects: list[dict[str, Any]] = list(yaml.safe_load_all(done.stdout))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The objects of one kind."""
        return [each for each in self.objects if each["kind"] == kind]

    @property
    def deployment(self) -> dict[str, Any]:
        """The spec of the one Deployment."""
        (only,) = self.of_kind("Deployment")
        spec: dict[str, Any] = only["spec"]
        return spec

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of its pods."""
        found: dict[str, Any] = self.deployment["template"]["spec"]
        return found

    @property
    def container(self) -> dict[str, Any]:
        """The one container of a pod."""
        (only,) = self.pod["containers"]
        found: dict[str, Any] = only
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """The container's variables: a value, or where it comes from."""
        return {each["name"]: each.get("value") or each["valueFrom"] for each in self.container["env"]}


@pytest.fixture
def kubectl(controlplane_binaries: Path) -> Path:
    return controlplane_binaries / "kubectl"


@pytest.mark.parametrize("folder", ["base", "base/control", "base/target", *OVERLAYS])
def test_every_kustomization_builds(kubectl: Path, folder: str) -> None:
    """Each folder is built by kubectl without an error or a word about deprecated fields."""
    assert Build(kubectl, folder).objects


@pytest.mark.parametrize("folder", OVERLAYS)
def test_every_overlay_knows_its_namespaces(kubectl: Path, folder: str) -> None:
    """Each namespaced object and each account in a binding has a namespace; tokens stay in kube-system."""
    build = Build(kubectl, folder)

    for each in build.objects:
        assert each["kind"].startswith("Cluster") or each["metadata"]["namespace"]
        assert all(subject["namespace"] for subject in each.get("subjects", []))
    tokens = [each for each in build.of_kind("Role") if each["rules"][0]["verbs"] == ["get", "create", "delete"]]
    assert all(each["metadata"]["namespace"] == "kube-system" for each in tokens)


@pytest.mark.parametrize("folder", OVERLAYS[:3])
def test_pod_is_locked_down_and_watched(kubectl: Path, folder: str) -> None:
    """The program runs without root, without capabilities, on a read-only disk, and answers probes on its port."""
    build = Build(kubectl, folder)

    assert build.pod["securityContext"]["runAsNonRoot"] is True
    assert build.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert build.container["ports"] == [{"name": "providermetrics", "containerPort": PORT}]
    assert build.container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "providermetrics"}
    assert build.container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "providermetrics"}
    assert build.container["resources"]["requests"]
    assert build.container["command"] == ["machine-engine", "serve"]
    assert build.container["image"] == f"machine-engine:{__version__}"
    assert build.environment["MACHINE_ENGINE_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


@pytest.mark.parametrize("folder", ["overlays/single-cluster", "overlays/two-clusters/control"])
def test_database_file_has_one_writer(kubectl: Path, folder: str) -> None:
    """One replica, replaced only after it is gone, on a disk that one node may mount."""
    build = Build(kubectl, folder)

    (claim,) = build.of_kind("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert (build.deployment["replicas"], build.deployment["strategy"]) == (1, {"type": "Recreate"})
    assert build.environment["MACHINE_ENGINE_DATABASE"] == "sqlite:////data/machine-engine.db"
    mounted = {each["mountPath"]: each["name"] for each in build.container["volumeMounts"]}
    (volume,) = [each for each in build.pod["volumes"] if each["name"] == mounted["/data"]]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_postgres_needs_no_disk_and_lets_replicas_overlap(kubectl: Path) -> None:
    """The address of the database comes from a Secret, nothing is mounted, and a new version overlaps the old one."""
    build = Build(kubectl, "overlays/postgres")

    assert build.of_kind("PersistentVolumeClaim") == []
    assert build.deployment["replicas"] > 1
    assert build.deployment["strategy"]["type"] == "RollingUpdate"
    assert build.environment["MACHINE_ENGINE_DATABASE"] == {
        "secretKeyRef": {"name": "machine-engine-database", "key": "url"}
    }
    assert [each["mountPath"] for each in build.container["volumeMounts"]] == ["/tmp"]  # noqa: S108 - in the container


def test_rights_in_two_clusters_are_apart(kubectl: Path) -> None:
    """Beside the Machines nothing is allowed cluster-wide; beside the Nodes nothing about Machines is allowed."""
    control = Build(kubectl, "overlays/two-clusters/control")
    target = Build(kubectl, "overlays/two-clusters/target")

    assert control.of_kind("ClusterRole") == []
    groups = {group for role in target.of_kind("ClusterRole") for rule in role["rules"] for group in rule["apiGroups"]}
    assert groups == {"", "policy", "storage.k8s.io"}
    assert control.container["args"] == [
        "--control-kubeconfig=inClusterConfig",
        "--target-kubeconfig=/etc/machine-engine/target/kubeconfig",
    ]


def test_no_right_is_a_wildcard(kubectl: Path) -> None:
    """Every right names its group, its resource and its verbs."""
    build = Build(kubectl, "overlays/single-cluster")

    rules = [rule for kind in ("Role", "ClusterRole") for role in build.of_kind(kind) for rule in role["rules"]]
    assert rules
    assert not [rule for rule in rules if "*" in rule["apiGroups"] + rule["resources"] + rule["verbs"]]
