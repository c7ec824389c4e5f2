"""A disk that forgets what was not synced.

The production store runs on it with a real SQLite file. What SQLite writes goes to the file at once, where SQLite reads
it back; what a power failure would leave is kept beside it, and becomes the file when the power fails: everything up to
the last sync of each file, and of the later writes any of them, whole or torn. Nothing waits for a real disk.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from engine.simulators.seed import Seed
from engine.simulators.vfs import OK, Layer, SqliteSealedError

SECTOR: Final = 512  # the smallest unit that a disk writes whole, whatever it promises
FULL: Final = 13  # SQLITE_FULL
WRITE_FAILED: Final = 778  # SQLITE_IOERR_WRITE
SYNC_FAILED: Final = 1034  # SQLITE_IOERR_FSYNC
TRUNCATE_FAILED: Final = 1546  # SQLITE_IOERR_TRUNCATE
DELETE_FAILED: Final = 2570  # SQLITE_IOERR_DELETE


@cache
def available() -> bool:
    """Answer whether this Python's SQLite lets itself be put on such a disk."""
    try:
        with Disk():
            return True
    except SqliteSealedError:
        return False


class Disk:
    """Tracks every database that is opened by its `url`, from the first opening to the end of the context."""

    def __init__(self) -> None:
        self.full = False
        """Whether there is no room for any write."""
        self.failing = False
        """Whether every change is answered with an error."""
        self.powered = True
        """Whether the power is on; without it nothing changes any more."""
        self.cut_at: int | None = None
        """The power fails in the middle of the change or sync of this number."""
        self.writes = 0
        """How many changes were accepted: writes, truncations and deletions."""
        self.syncs = 0
        """How many syncs were answered with success."""
        self.lost = 0
        """How many writes and truncations power failures took back, wholly or in part."""
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()
        self._layer = Layer(self)

    @property
    def operations(self) -> int:
        """How many changes and syncs there were; the next one has the next number."""
        return self.writes + self.syncs

    def url(self, path: Path) -> str:
        """Answer the URL by which a store opens this file on this disk."""
        return f"sqlite:///{path}?vfs={quote(self._layer.name)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._layer.close()
        if kind is None:
            self._complain("the end of the disk")

    @contextmanager
    def power_failure(self, seed: Seed) -> Iterator[None]:
        """Inside, the power is off, and the store is to be closed: nothing of that counts, its process is dead.

        Afterwards the power is on, and the files are what the failure left of them.
        """
        self.powered = False
        yield
        self._complain("a power failure")
        for path in sorted(self._files):
            self._forget(Path(path), self._files[path], seed)
        self.powered, self.cut_at = True, None

    def opened(self, path: str, content: Callable[[], bytes]) -> None:
        """A file that nobody has open, and of which nothing can be lost, is what it holds."""
        with self._lock:
            file = self._files.setdefault(path, _File())
            if not file.openings and not file.unsynced:
                # A file that is empty was just made, or might as well have been: its name is not safe yet.
                file.safe = bytearray(content()) or None
            file.openings += 1

    def closed(self, path: str) -> None:
        """Nothing is synced by closing."""
        with self._lock:
            self._files[path].openings -= 1

    def write(self, path: str, offset: int, content: bytes) -> int:
        """The content is in the file, and may be lost until the next sync."""
        change = _Change(offset=offset, content=content)
        return self._change(path, change, FULL if self.full else OK, WRITE_FAILED)

    def truncate(self, path: str, size: int) -> int:
        """The file ends here, which may be lost until the next sync."""
        return self._change(path, _Change(offset=size, content=None), OK, TRUNCATE_FAILED)

    def sync(self, path: str) -> int:
        """Nothing that was written can be lost any more."""
        with self._lock:
            if self._cut() or self.failing:
                return SYNC_FAILED
            self.syncs += 1
            self._files[path].sync()
            return OK

    def delete(self, path: str) -> int:
        """The file is gone at once and for ever."""
        with self._lock:
            if self._cut() or self.failing:
                return DELETE_FAILED
            self.writes += 1
            self._files[path] = _File()
            return OK

    def _change(self, path: str, change: "_Change", code: int, failure: int) -> int:
        with self._lock:
            was_on = self.powered
            if self._cut():
                # What is under way when the power fails may reach the disk, and nobody is told.
                self._files[path].unsynced += [change] if was_on else []
                return failure
            if self.failing or code != OK:
                return failure if self.failing else code
            self.writes += 1
            self._files[path].unsynced.append(change)
            return OK

    def _cut(self) -> bool:
        if self.operations + 1 == self.cut_at:
            self.powered = False
        return not self.powered

    def _forget(self, path: Path, file: "_File", seed: Seed) -> None:
        self.lost += file.forget(seed)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        if file.safe is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(file.safe)

    def _complain(self, what: str) -> None:
        if self._layer.errors:
            raise RuntimeError(f"the simulated disk has a fault of its own: {self._layer.errors}")
        if self._layer.open_files:
            raise RuntimeError(f"{self._layer.open_files} files are open at {what}; close the store before")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A write at an offset, or without content the end of the file there."""

    offset: int
    content: bytes | None

    def torn(self, seed: Seed) -> Self | None:
        """Answer the part of a write that reached the disk when it was interrupted between two sectors."""
        content = self.content or b""
        first, last = self.offset // SECTOR + 1, (self.offset + len(content) - 1) // SECTOR
        if first > last:
            return None
        end = seed.integer(first, last) * SECTOR
        return type(self)(offset=self.offset, content=content[: end - self.offset])


class _File:
    """What is safe of a file, None when not even its name is; and what came after that."""

    def __init__(self) -> None:
        self.safe: bytearray | None = None
        self.unsynced: list[_Change] = []
        self.openings = 0

    def sync(self) -> None:
        """Everything is safe."""
        self.safe = _changed(self.safe or bytearray(), self.unsynced)
        self.unsynced = []

    def forget(self, seed: Seed) -> int:
        """What survives is safe; answer how many changes did not, or not wholly."""
        share = seed.between(-0.25, 1.25)  # in a fifth of all failures nothing survives, and in another everything
        survivors, lost = [], 0
        for change in self.unsynced:
            whole = seed.chance(share)
            left = change if whole else change.torn(seed) if seed.chance(share) else None
            survivors += [left] if left else []
            lost += not whole
        self.unsynced = []
        if survivors:
            self.safe = _changed(self.safe or bytearray(), survivors)
        return lost


def _changed(image: bytearray, changes: list[_Change]) -> bytearray:
    for change in changes:
        image.extend(bytes(max(0, change.offset - len(image))))
        if change.content is None:
            del image[change.offset :]
        else:
            image[change.offset : change.offset + len(change.content)] = change.content
    return image
