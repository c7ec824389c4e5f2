"""A real control plane on the loopback address: etcd, kube-apiserver with RBAC, kube-controller-manager, and MCM.

Nothing is simulated but machines: there is no kubelet and no scheduler, so pods are bound and made ready by the test.
"""

import itertools
import json
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.controlplane.credentials import Authority, write_private_key, write_public_key
from tests.controlplane.processes import Process, answers_ok, free_port

READY_SECONDS_MAX = 90.0  # An idle machine needs four; a shared one with two cores was seen to need thirty.
KUBECTL_SECONDS_MAX = 60.0

# Those whose absence a client of the machine API would notice; kubelets, volumes and networks are not ours.
CONTROLLERS = ("disruption-controller", "garbage-collector-controller", "namespace-controller", "replicaset-controller")


class KubectlError(Exception):
    """A kubectl command failed; the message is what it said."""


class ControlPlane:
    """One control plane; a context manager that stops what it started."""

    def __init__(self, binaries: Path, *, crds: Path | None = None) -> None:
        """Binaries come from the folder `build.py` names; manifests in `crds` are applied before controllers start."""
        self._binaries = binaries
        self._crds = crds
        self._folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
        self._processes: dict[str, Process] = {}
        self._numbers = itertools.count(1)
        self._etcd_port = free_port()
        self._api_port = free_port()
        self._authority = Authority(self._folder)
        self._serving = self._authority.serving_pair()
        self._account_key = write_private_key(self._folder / "service-accounts.key")
        self._kubeconfigs: dict[str, Path] = {}
        self._tls = ssl.create_default_context(cafile=str(self._authority.certificate))
        self._tls.load_cert_chain(*self._admin_pair())

    def __enter__(self) -> Self:
        """Start, if that has not happened."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and remove every trace."""
        self.stop()

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self._api_port}"

    def start(self) -> None:
        """Everything runs and answers; when something does not, nothing runs and the error shows its log."""
        try:
            self._start_etcd()
            self.start_apiserver()
            if self._crds:
                self.apply(self._crds)
            self._start_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """No process of this control plane runs, and its folder is gone. Safe to repeat."""
        for name in reversed(list(self._processes)):
            # Nothing is worth keeping, so nobody is asked to leave in order.
            self._processes.pop(name).kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kubeconfig(self, user: str = "admin") -> Path:
        """The kubeconfig of `admin`, who may do anything, or of somebody `make_user` made."""
        if user == "admin" and user not in self._kubeconfigs:
            self._kubeconfigs[user] = self._authority.kubeconfig(user=user, server=self.url, groups=("system:masters",))
        return self._kubeconfigs[user]

    def make_user(self, name: str, rules: Sequence[dict[str, list[str]]], *, namespace: str | None = None) -> Path:
        """A kubeconfig for a user who may do exactly what `rules` say: in one namespace if given, else everywhere."""
        scope = "ClusterRole" if namespace is None else "Role"
        metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
        group = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{group}/v1", "kind": scope, "metadata": metadata, "rules": list(rules)}
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": f"{scope}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": scope, "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
        }
        self.apply_objects(role, binding)
        return self.bind_user(name, namespace=namespace or "default")

    def bind_user(self, name: str, *, namespace: str = "default") -> Path:
        """A kubeconfig for a user of this name, who may do what role bindings elsewhere say."""
        self._kubeconfigs[name] = self._authority.kubeconfig(user=name, server=self.url, namespace=namespace)
        return self._kubeconfigs[name]

    def kubectl(self, *arguments: str | Path, input: str | None = None, user: str = "admin") -> str:  # noqa: A002
        """What kubectl prints, run as `user`; `input` is its standard input, as in `subprocess.run`."""
        command = [self._binaries / "kubectl", "--kubeconfig", self.kubeconfig(user), "--cache-dir"]
        done = subprocess.run(
            [*map(str, command), str(self._folder / "kubectl-cache"), *map(str, arguments)],
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=KUBECTL_SECONDS_MAX,
        )
        if done.returncode:
            raise KubectlError((done.stderr + done.stdout).strip())
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """The object or list that `kubectl get` names, decoded."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, manifests: Path, *, namespace: str = "default") -> None:
        """Manifests of a file or folder are applied, and definitions among them are established."""
        self.kubectl("apply", "--server-side", f"--namespace={namespace}", "--filename", manifests)
        if "kind: CustomResourceDefinition" in _text(manifests):
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", manifests)

    def apply_objects(self, *objects: dict[str, Any]) -> None:
        """Objects are applied as they are."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", input=json.dumps(bundle))

    def replace_status(self, changed: dict[str, Any]) -> None:
        """The status of an object is what `changed` says, as if its controller had written it."""
        self.kubectl("replace", "--subresource=status", "--filename=-", input=json.dumps(changed))

    def make_namespace(self) -> str:
        """A namespace that nobody has used."""
        name = f"test-{next(self._numbers)}"
        self.kubectl("create", "namespace", name)
        return name

    def drop_namespace(self, name: str) -> None:
        """No MCM works on the namespace and it is being deleted; what finalizers hold back disturbs nobody."""
        if mcm := self._processes.pop(_mcm_name(name), None):
            mcm.kill()
        self.kubectl("delete", "namespace", name, "--wait=false")

    def start_mcm(self, namespace: str) -> Process:
        """The real machine controller manager runs for one namespace, with this cluster as control and target."""
        port = free_port()
        process = self._spawn(
            _mcm_name(namespace),
            "machine-controller-manager",
            f"--control-kubeconfig={self.kubeconfig()}",
            f"--target-kubeconfig={self.kubeconfig()}",
            f"--namespace={namespace}",
            "--address=127.0.0.1",
            f"--port={port}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--machine-safety-overshooting-period=5s",
            "--v=3",
        )
        process.wait_until(lambda: answers_ok(port, "/healthz"), seconds_max=READY_SECONDS_MAX)
        return process

    def start_apiserver(self) -> None:
        """The API server runs and is ready, on the same port as ever."""
        process = self._spawn("kube-apiserver", "kube-apiserver", *self._apiserver_flags())
        process.wait_until(lambda: answers_ok(self._api_port, "/readyz", tls=self._tls), seconds_max=READY_SECONDS_MAX)

    def stop_apiserver(self) -> None:
        """Nobody answers at `url`, as in an outage."""
        self._processes.pop("kube-apiserver").kill()

    def restart_apiserver(self) -> None:
        """The API server has been away and is back: every watch was cut."""
        self.stop_apiserver()
        self.start_apiserver()

    def compact_etcd(self) -> None:
        """The versions of before are forgotten: an API server that starts now can resume no watch from then."""
        revision = self._ask_etcd("range", {"key": "AA=="})["header"]["revision"]
        self._ask_etcd("compaction", {"revision": revision, "physical": True})

    def _ask_etcd(self, verb: str, body: dict[str, Any]) -> Any:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}/v3/kv/{verb}", data=json.dumps(body).encode()
        )
        with urllib.request.urlopen(asked, timeout=KUBECTL_SECONDS_MAX) as answer:
            return json.load(answer)

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        process = self._spawn(
            "etcd",
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            "--unsafe-no-fsync",  # The data dies with the test anyway.
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        process.wait_until(lambda: answers_ok(self._etcd_port, "/readyz"), seconds_max=READY_SECONDS_MAX)

    def _start_controllers(self) -> None:
        self._spawn(
            "kube-controller-manager",
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig()}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--concurrent-gc-syncs=5",
        )

    def _apiserver_flags(self) -> list[str]:
        certificate, key = self._serving
        public = write_public_key(self._folder / "service-accounts.pub", self._account_key)
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._api_port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self._authority.certificate}",
            "--authorization-mode=Node,RBAC",
            f"--service-account-signing-key-file={self._account_key}",
            f"--service-account-key-file={public}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            # Pods need no service account here: no kubelet would mount its token.
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--shutdown-delay-duration=0s",
        ]

    def _spawn(self, name: str, binary: str, *flags: str) -> Process:
        earlier = self._processes.pop(name, None)
        if earlier:
            earlier.kill()
        process = Process(name, [self._binaries / binary, *flags], log=self._folder / f"{name}.log")
        self._processes[name] = process
        return process

    def _admin_pair(self) -> tuple[Path, Path]:
        self.kubeconfig()
        return self._folder / "user-admin.crt", self._folder / "user-admin.key"


def _mcm_name(namespace: str) -> str:
    return f"machine-controller-manager-{namespace}"


def _text(manifests: Path) -> str:
    files = sorted(manifests.glob("*.yaml")) if manifests.is_dir() else [manifests]
    return "\n".join(file.read_text("utf-8") for file in files)
