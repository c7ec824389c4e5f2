"""The file of the embedded API server: a log of writes, one JSON line each, compacted now and then.

A killed process loses at most the write that was under way: a torn last line is dropped at the next start, and a
compaction replaces the file in one step.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.errors import ConfigurationError
from engine.simulators.kube.kinds import Json
from engine.simulators.kube.objects import Key, Stored

DEAD_LINES_MIN = 2_000  # below this many superseded lines a compaction is not worth its time

_LoadedKey = tuple[tuple[str, str], str, str]


_NOTHING = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    """One write: the object that lies under the key from now on, or null."""

    revision: int
    key: _LoadedKey
    value: msgspec.Raw = _NOTHING


class ObjectLog:
    """The objects in a file; it belongs to one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[Key, _Line] = {}
        self._revision = 1
        self._dead = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _opened(path)
        try:
            self._read()
            self._compact()
        except BaseException:
            self._file.close()
            raise

    @property
    def revision(self) -> int:
        """The number of the last write that the file holds."""
        return self._revision

    def objects(self) -> Iterator[tuple[Key, Json]]:
        """Answer what the file holds."""
        for key, line in self._lines.items():
            if bytes(line.value) != b"null":
                yield key, msgspec.json.decode(line.value)

    def wrote(self, revision: int, stored: Stored) -> None:
        """Keep the object; it is in the file when this returns."""
        self._append(_Line(revision=revision, key=stored.key, value=msgspec.Raw(stored.raw)))

    def removed(self, revision: int, key: Key) -> None:
        """Forget the object; the file says so when this returns."""
        self._append(_Line(revision=revision, key=key))

    def close(self) -> None:
        """Leave the file to the next process."""
        self._file.close()

    def _read(self) -> None:
        whole = 0
        for text in self._file:
            if not text.endswith(b"\n"):
                break  # the process was killed while it wrote this
            try:
                self._take(msgspec.json.decode(text, type=_Line))
            except msgspec.MsgspecError as error:
                message = f"{self._path} is damaged after byte {whole}; move it away to start with an empty cluster"
                raise ConfigurationError(message) from error
            whole += len(text)
        self._file.truncate(whole)
        self._file.seek(whole)

    def _append(self, line: _Line) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        self._take(line)
        if self._dead > max(DEAD_LINES_MIN, len(self._lines)):
            self._compact()

    def _take(self, line: _Line) -> None:
        self._revision = max(self._revision, line.revision)
        key: Key = line.key
        self._dead += key in self._lines
        if bytes(line.value) == b"null":
            self._lines.pop(key, None)
            self._dead += 1
        else:
            self._lines[key] = line

    def _compact(self) -> None:
        if not self._dead:
            return
        fresh_path = self._path.with_name(f"{self._path.name}.new")
        fresh_path.unlink(missing_ok=True)
        fresh = _opened(fresh_path)
        # The first line is the removal of nothing: it carries the revision on, whatever was removed last.
        lines = [_Line(revision=self._revision, key=(("", ""), "", "")), *self._lines.values()]
        fresh.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
        fresh.flush()
        os.fsync(fresh.fileno())
        fresh_path.replace(self._path)
        self._file.close()
        self._file = fresh
        self._dead = 0


def _opened(path: Path) -> BinaryIO:
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        message = f"{path} is in use by another API server; stop that one or name another file"
        raise ConfigurationError(message) from error
    file.seek(0)
    return file
