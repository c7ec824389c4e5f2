"""The engine with a wall clock that is wrong by what a file says; the monotonic clock stays right.

The first argument names the file, which holds seconds and may change at any time; the others are the engine's. Nothing
but `SystemClock` reads a wall clock in the engine, so this is what a jump of the machine's clock does to it.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from engine.cli import main
from engine.clock import SystemClock

TRUE_NOW = SystemClock.now


def shift_by(file: Path) -> None:
    """Every clock of this process is wrong by the seconds in the file."""

    def now(clock: SystemClock) -> datetime:
        return TRUE_NOW(clock) + timedelta(seconds=float(file.read_text("utf-8")))

    SystemClock.now = now  # type: ignore[method-assign, assignment]  # the point of this program


if __name__ == "__main__":
    shift_by(Path(sys.argv.pop(1)))
    main()
