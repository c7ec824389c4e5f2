"""Finding and building the control plane, with a Go toolchain that only pretends to build."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.controlplane.build import EXIT_NO_TOOLCHAIN, PACKAGES

SCRIPT = Path(__file__).with_name("build.py")
PRETENDED_GO = """#!/bin/sh
# Answers its version, and "builds" whatever is asked for but the package that BROKEN names.
if [ "$1" = env ]; then echo go1.99.0; exit 0; fi
echo "$@" >> "$GO_CALLS"
while [ $# -gt 1 ]; do [ "$1" = -o ] && out="$2"; shift; done
case "$1" in *"${BROKEN:-nothing}") echo "cannot compile $1"; exit 2;; esac
printf '#!/bin/sh\\n' > "$out"; chmod +x "$out"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A cache of its own and a toolchain that leaves a trace of each build."""

    folder: Path

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script as `make controlplane` does."""
        given = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "GO_CALLS": str(self.folder / "calls"),
        }
        return subprocess.run(
            [sys.executable, SCRIPT], env=given | environment, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def calls(self) -> int:
        """How often something was built."""
        calls = self.folder / "calls"
        return len(calls.read_text("utf-8").splitlines()) if calls.exists() else 0


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(PRETENDED_GO, "utf-8")
    go.chmod(0o755)
    return Workplace(folder=tmp_path)


def runnable(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if os.access(path, os.X_OK)}


def test_last_line_is_the_folder_of_all_five(workplace: Workplace) -> None:
    """A first run builds each binary once and names the folder; a second run builds nothing and says the same."""
    first = workplace.run()
    second = workplace.run()

    folder = Path(first.stdout.splitlines()[-1])
    assert first.returncode == 0
    assert runnable(folder) == set(PACKAGES)
    assert workplace.calls == len(PACKAGES)
    assert f"[2/{len(PACKAGES)}] kube-apiserver … " in first.stdout
    assert second.stdout.splitlines() == [str(folder)]


def test_a_failed_build_is_resumed_where_it_stopped(workplace: Workplace) -> None:
    """What the compiler said is shown, what was built before is kept, and no partial file counts as a binary."""
    failed = workplace.run(BROKEN="kubectl")
    built_before = workplace.calls - 1

    resumed = workplace.run()

    assert failed.returncode == 1
    assert "cannot compile k8s.io/kubernetes/cmd/kubectl" in failed.stderr
    assert resumed.returncode == 0
    assert workplace.calls == len(PACKAGES) + 1
    assert f"[1/{len(PACKAGES) - built_before}] kubectl" in resumed.stdout


def test_without_a_toolchain_one_line_says_what_to_do(workplace: Workplace) -> None:
    """The exit code is one of its own, and the line names what is missing and both ways out."""
    done = workplace.run(PATH="/nonexistent")

    assert done.returncode == EXIT_NO_TOOLCHAIN
    (line,) = done.stderr.splitlines()
    assert "kube-apiserver" in line
    assert "KUBEBUILDER_ASSETS" in line


def test_without_a_toolchain_what_was_built_once_is_found(workplace: Workplace) -> None:
    """A cache that was filled elsewhere, with any version of Go, is enough."""
    folder = workplace.run().stdout.splitlines()[-1]

    assert workplace.run(PATH="/nonexistent").stdout.splitlines() == [folder]


def test_given_binaries_are_taken_and_the_rest_is_built(workplace: Workplace) -> None:
    """With a usual KUBEBUILDER_ASSETS only the two binaries that it lacks are built; all five are in one folder."""
    assets = workplace.folder / "assets"
    assets.mkdir()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (assets / name).write_text("#!/bin/sh\n", "utf-8")
        (assets / name).chmod(0o755)

    done = workplace.run(KUBEBUILDER_ASSETS=str(assets))

    folder = Path(done.stdout.splitlines()[-1])
    assert workplace.calls == 2
    assert runnable(folder) == set(PACKAGES)
    assert (folder / "etcd").resolve() == (assets / "etcd").resolve()
