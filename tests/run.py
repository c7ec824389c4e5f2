"""Runs every test: the fast suites while the real control plane is being built, then those that need it.

Only the standard library is used, and nothing is known of any suite but its markers.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "tests" / "controlplane" / "build.py"

FAST = "not controlplane and not live"
REAL = "controlplane or live"
REAL_WITHOUT_PLANE = "live and not controlplane"

BUILD_HAS_NO_TOOLCHAIN = 3
PYTEST_FOUND_NOTHING = 5
WORKERS = 2
LOOK_SECONDS = 0.5


def main() -> int:
    """Answer 0 when everything that could run has passed, and under CI only when everything could run."""
    with tempfile.TemporaryFile("w+b") as log, _building(log) as build:
        if build.poll() is None:
            print("The control plane is being looked for, and built if need be, beside the fast suites.", flush=True)
        fast = _pytest(FAST, "-n", str(WORKERS))
        built = _follow(build, log)
    real = _run_real(built)
    plane = "missing" if built == BUILD_HAS_NO_TOOLCHAIN else _word(built)
    print(f"fast suites: {_word(fast)}; real control plane: {plane}; real suites: {_word(real)}", flush=True)
    excused = built == BUILD_HAS_NO_TOOLCHAIN and os.environ.get("CI") != "true"
    return int(bool(fast or real or (built and not excused)))


@contextmanager
def _building(log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The build runs, politely: the suites have time limits and a compiler has none. It ends with the block."""
    build = subprocess.Popen(["nice", "-n", "10", sys.executable, str(BUILD)], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield build
    finally:
        if build.poll() is None:
            build.terminate()
            build.wait()


def _follow(build: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """Show what the build says until it ends, and answer its exit code."""
    shown = 0
    while True:
        code = build.poll()
        text = os.pread(log.fileno(), 1 << 20, shown)
        shown += len(text)
        print(text.decode("utf-8", "replace"), end="", flush=True)
        if code is not None and not text:
            return code
        if code is None:
            time.sleep(LOOK_SECONDS)


def _run_real(built: int) -> int:
    # Each worker has a control plane of its own, and the tests of a file may share a controller.
    by_file = ("-n", str(WORKERS), "--dist", "loadfile")
    if built == 0:
        return _pytest(REAL, *by_file)
    if built == BUILD_HAS_NO_TOOLCHAIN:
        print("SKIPPED: every test against a real control plane, because its binaries and Go are missing.", flush=True)
    code = _pytest(REAL_WITHOUT_PLANE, *by_file)
    return 0 if code == PYTEST_FOUND_NOTHING else code


def _pytest(markers: str, *options: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", markers, *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _word(code: int) -> str:
    return "FAILED" if code else "ok"


if __name__ == "__main__":
    sys.exit(main())
