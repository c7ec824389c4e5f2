"""Where a demo world is kept from run to run, and what makes sure that it runs once at a time."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engine.errors import ConfigurationError


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the world remembers of its last run, beside its objects and devices."""

    api_port: int = 0
    metal_port: int = 0
    samples_applied: bool = False
    """Whether the samples were applied once; what the user deletes afterwards stays deleted."""


class Folder:
    """The files of one demo world; entering it takes the world for this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kubeconfig = path / "kubeconfig"
        self.objects = path / "objects.jsonl"
        self.devices = path / "devices.json"
        self.database = path / "machine-engine.db"
        self.log = path / "controller.log"
        self._memory = path / "world.json"
        self._lock = -1

    @property
    def exists(self) -> bool:
        """Whether nobody has deleted it."""
        return self.path.is_dir()

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "world.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ConfigurationError(f"the folder {self.path} of the demo cannot be used: {error.strerror}") from error
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise ConfigurationError(
                f"a demo runs in {self.path} already (process {holder or 'unknown'}): stop it with Ctrl-C first, or "
                "give this one a folder of its own with --folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def recall(self) -> Memory:
        """Answer what the last run remembered; nothing on the first."""
        if not self._memory.exists():
            return Memory()
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=Memory)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{self._memory} cannot be read: {error}; `make demo-clean` starts anew"
            ) from error

    def remember(self, memory: Memory) -> None:
        """Keep this for the next run."""
        write_whole(self._memory, msgspec.json.encode(memory))


def write_whole(path: Path, content: bytes) -> None:
    """Let the file have this content; whoever reads it, even after a kill, finds the old or the new, never a part."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
