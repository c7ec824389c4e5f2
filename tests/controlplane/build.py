"""Finds or builds the real control plane that tests run against: etcd, Kubernetes and the machine controller manager.

The versions stand in the two `go.mod` files beside this one. A finished binary is kept in the user's cache, in a folder
named for everything that decides its content, so that a second run takes no time and an interrupted one goes on where
it stopped. Only the standard library is used: this runs before anything is installed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
KUBERNETES_MODULE = HERE
MCM_MODULE = HERE / "mcm"

# Cheap ones first: a broken toolchain shows after two minutes and not after nine.
PACKAGES: Mapping[str, tuple[Path, str]] = {
    "etcd": (KUBERNETES_MODULE, "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": (KUBERNETES_MODULE, "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kubectl": (KUBERNETES_MODULE, "k8s.io/kubernetes/cmd/kubectl"),
    "kube-controller-manager": (KUBERNETES_MODULE, "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "machine-controller-manager": (
        MCM_MODULE,
        "github.com/gardener/machine-controller-manager/cmd/machine-controller-manager",
    ),
}

EXIT_NO_TOOLCHAIN = 3
LOG_LINES_SHOWN = 30  # A compiler's first error and its surroundings fit on one screen.


class BuildError(Exception):
    """A binary could not be built; the message ends with what the compiler said."""


class NoToolchainError(BuildError):
    """Binaries are missing and there is no Go toolchain to build them."""


def main() -> int:
    """Print the folder of the five binaries as the last line, building what is missing."""
    try:
        folder = ensure()
    except NoToolchainError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_TOOLCHAIN
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(folder)
    return 0


def locate() -> Path | None:
    """The folder that holds all five binaries, or None when one is missing. Builds nothing."""
    found = {name: path for name in PACKAGES if (path := _find(name))}
    if len(found) < len(PACKAGES):
        return None
    parents = {path.parent for path in found.values()}
    return parents.pop() if len(parents) == 1 else _view(found)


def ensure() -> Path:
    """The folder that holds all five binaries, after building what is missing. Safe to repeat, safe to interrupt."""
    if folder := locate():
        return folder
    if not shutil.which("go"):
        missing = ", ".join(name for name in PACKAGES if not _find(name))
        raise NoToolchainError(
            f"missing: {missing}; building them needs Go (`go` on the PATH), or set KUBEBUILDER_ASSETS to their folder"
        )
    with _sole_builder():
        missing_names = [name for name in PACKAGES if not _find(name)]
        for number, name in enumerate(missing_names, start=1):
            _build(name, title=f"[{number}/{len(missing_names)}] {name}")
    built = locate()
    if built is None:
        raise BuildError("binaries vanished while they were built; run this again")
    return built


def _find(name: str) -> Path | None:
    """One binary: from KUBEBUILDER_ASSETS before the cache."""
    folders = [Path(assets)] if (assets := os.environ.get("KUBEBUILDER_ASSETS")) else []
    for folder in [*folders, *_built_folders()]:
        if os.access(folder / name, os.X_OK):
            return folder / name
    return None


def _built_folders() -> list[Path]:
    """Where built binaries are: the folder of this Go version, or of any version when there is no toolchain."""
    version = _go_version()
    if version:
        return [_cache() / f"{_sources_digest()}-{version}"]
    return sorted(_cache().glob(f"{_sources_digest()}-go*"))


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "machine-engine" / "controlplane"


def _sources_digest() -> str:
    digest = hashlib.sha256(_linker_flags().encode())
    for module in (KUBERNETES_MODULE, MCM_MODULE):
        for name in ("go.mod", "go.sum"):
            digest.update((module / name).read_bytes())
    return digest.hexdigest()[:12]


def _linker_flags() -> str:
    """Flags that strip symbols and tell the binaries their version, which clients and MCM ask for."""
    pinned = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", (KUBERNETES_MODULE / "go.mod").read_text("utf-8"))
    if not pinned:
        raise BuildError(f"{KUBERNETES_MODULE / 'go.mod'} names no version of k8s.io/kubernetes")
    version = "k8s.io/component-base/version"
    full, major, minor = pinned.groups()
    return f"-s -w -X {version}.gitVersion={full} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"


def _go_version() -> str | None:
    go = shutil.which("go")
    if not go:
        return None
    # Asked for inside the module: its go directive may select a newer toolchain.
    answer = subprocess.run([go, "env", "GOVERSION"], cwd=MCM_MODULE, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _view(binaries: Mapping[str, Path]) -> Path:
    """A folder of links to binaries that lie in different places."""
    digest = hashlib.sha256("\n".join(map(str, binaries.values())).encode()).hexdigest()[:12]
    folder = _cache() / f"links-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in binaries.items():
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.symlink_to(path.resolve())
        fresh.replace(folder / name)
    return folder


@contextmanager
def _sole_builder() -> Iterator[None]:
    """Only one build runs at a time on this cache; the lock goes with the process that holds it."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build is running; waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, *, title: str) -> None:
    """One binary, put in its place only when it is whole."""
    module, package = PACKAGES[name]
    folder = _built_folders()[0]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    log = folder / f".{name}.log"
    command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", _linker_flags(), "-o", str(partial), package]
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=module, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = _watch(process, title=title)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:])
        raise BuildError(f"{name}: `go build` ended with {code}:\n{tail}")
    partial.replace(folder / name)
    log.unlink()


def _watch(process: subprocess.Popen[bytes], *, title: str) -> int:
    """Show for how long a build has been running, and return its exit code."""
    started = time.monotonic()
    live = sys.stdout.isatty()
    print(f"{title} …", end="", flush=True)
    while True:
        try:
            code = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = None
        spent = f"{title} … {_span(time.monotonic() - started)}"
        if code is not None:
            print(f"\r{spent}" if live else spent.removeprefix(f"{title} …"), flush=True)
            return code
        if live:
            print(f"\r{spent}", end="", flush=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    sys.exit(main())
