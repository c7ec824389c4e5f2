"""The programs of a walk: `machine-engine serve` as a process of its own, its other verbs, and kubectl."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.controlplane.plane import KubectlError
from tests.controlplane.processes import Process, answers_ok, free_port

ROOT = Path(__file__).resolve().parents[2]
KUBECTL_SECONDS_MAX = 60.0
VERB_SECONDS_MAX = 60.0
START_SECONDS_MAX = 30.0
FACT_SECONDS_MAX = 45.0  # A fact that takes longer will not come, even on a machine with two busy cores.
LOOK_SECONDS = 0.1

# Waits made for data centres are shortened, and paces made for real clouds are raised, for a world that runs faster.
BRISK: Mapping[str, str] = {
    "address": "127.0.0.1",
    "visibility-window": "3s",
    "metal-calls-per-second": "1000",
    "kube-api-qps": "500",
    "kube-api-burst": "1000",
    "poll-fastest": "300ms",
    "poll-expecting": "2s",
    "busy-retry": "1s",
    "retry-first": "500ms",
    "retry-longest": "5s",
}

Fact = TypeVar("Fact")


def eventually(fact: Callable[[], Fact], *, seconds_max: float = FACT_SECONDS_MAX) -> Fact:
    """The first true value of `fact`, asked for again and again until the limit."""
    deadline = time.monotonic() + seconds_max
    while not (value := fact()):
        assert time.monotonic() < deadline, f"did not come true within {seconds_max:.0f} s: {fact}"
        time.sleep(LOOK_SECONDS)
    return value


def run_engine(*arguments: str, code: int = 0) -> str:
    """What a verb of `machine-engine` prints; it must end with the exit code, and a failure tells on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=VERB_SECONDS_MAX,
    )
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stderr if code else done.stdout


class Kubectl:
    """The real kubectl with one kubeconfig, in one namespace."""

    def __init__(self, binary: Path, kubeconfig: Path, namespace: str, *, cache: Path) -> None:
        self._command = [str(binary), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", f"--namespace={namespace}"]

    def __call__(self, *arguments: str | Path, input: str | None = None) -> str:  # noqa: A002 - as in subprocess.run
        """What it prints; warnings on standard error do not count."""
        done = subprocess.run(
            [*self._command, *map(str, arguments)],
            cwd=ROOT,
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=KUBECTL_SECONDS_MAX,
        )
        if done.returncode:
            raise KubectlError((done.stderr + done.stdout).strip())
        return done.stdout


class ControllerProcess:
    """`machine-engine serve` with one database; it can be killed and started again, and writes one log."""

    def __init__(self, name: str, *, folder: Path, settings: Mapping[str, str]) -> None:
        self.database = f"sqlite:///{folder / f'{name}.db'}"
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self._name = name
        self.settings: Mapping[str, str] = {"database": self.database, "port": str(self.port), **BRISK, **settings}
        self.program: Sequence[str | Path] = ("-m", "engine")
        """What Python is to run: the engine, or a program that runs it otherwise."""
        self._process: Process | None = None

    @property
    def flags(self) -> list[str]:
        """Its settings, as another verb takes them."""
        return [f"--{name}={value}" for name, value in self.settings.items()]

    def start(self, *, ready: bool = True) -> "ControllerProcess":
        """It runs, and is ready unless nobody wants to wait for that."""
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)
        command = [sys.executable, *self.program, "serve", *self.flags]
        self._process = Process(self._name, command, log=self.log)
        if ready:
            self._process.wait_until(lambda: answers_ok(self.port, "/readyz"), seconds_max=START_SECONDS_MAX)
        return self

    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.running()

    def kill(self) -> None:
        """It has ended as if the power had gone. Safe to repeat."""
        if self._process:
            self._process.kill()

    def signal(self, number: signal.Signals) -> None:
        """It was sent a signal."""
        assert self._process
        os.kill(self._process.pid, number)

    def terminate(self) -> int:
        """It was asked to end, and did: its exit code."""
        assert self._process
        self._process.stop()
        return self.exit_code()

    def exit_code(self) -> int:
        """The exit code, once it ended by itself."""
        assert self._process
        eventually(lambda: not self.running())
        code = self._process.exit_code
        assert code is not None
        return code

    def told(self) -> str:
        """Everything that it logged, in all its lives."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def answers(self, path: str) -> bool:
        """Whether a page of its console says that all is well."""
        return answers_ok(self.port, path)

    def fetch(self, path: str) -> tuple[int, str]:
        """Status and text of a page of its console."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def ask(self, *arguments: str) -> str:
        """What a verb that reads the database prints for people."""
        return run_engine(*arguments, "--database", self.database)

    def ask_json(self, *arguments: str) -> Any:
        """The same for programs."""
        return json.loads(self.ask(*arguments, "--output", "json"))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MACHINE_ENGINE_")}
