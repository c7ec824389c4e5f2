"""Programs under test as child processes that never outlive the test, with their output in files."""

import ctypes
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LINES_SHOWN = 25  # Enough for a stack trace's beginning and the reason above it.
STOP_SECONDS = 10.0  # A control plane program that takes longer to end is killed.
POLL_SECONDS = 0.05
PROBE_SECONDS_MAX = 2.0
PR_SET_PDEATHSIG = 1  # From linux/prctl.h.


class ProcessFailedError(Exception):
    """A program ended or stayed silent; the message ends with what it said last."""


class Process:
    """One program that was started: its log, whether it runs, and its end."""

    def __init__(self, name: str, command: Sequence[str | Path], *, log: Path) -> None:
        self.name = name
        self.log = log
        # Whoever looks for this program's output after a restart finds both lives in one file.
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Only async-signal-safe work happens there: one system call that asks to die with the parent.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """The process id, for signals."""
        return self._child.pid

    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the program ended: its exit code, or the negated signal; None while it runs."""
        return self._child.poll()

    def wait_until(self, ready: Callable[[], bool], *, seconds_max: float) -> None:
        """Return when `ready` holds; raise when the program ends before or the time is over."""
        deadline = time.monotonic() + seconds_max
        while not ready():
            if not self.running():
                raise ProcessFailedError(f"{self.name} ended with {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{self.name} was not ready within {seconds_max:.0f} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def tail(self) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LINES_SHOWN:])

    def stop(self) -> None:
        """The program has ended, by its own will or not. Safe to repeat."""
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """The program has ended at once, as if the power had gone. Safe to repeat."""
        self._child.kill()
        self._child.wait()


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers_ok(port: int, path: str, *, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a server on this port of the loopback address answers a GET of `path` with 200."""
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=PROBE_SECONDS_MAX, context=tls
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_SECONDS_MAX)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # The parent went before the request was made.
            os.kill(os.getpid(), signal.SIGKILL)
