"""What must hold of an SQLite file before it is opened, and while it is.

One controller writes a file, on a local disk: SQLite's shared memory does not work over a network, and a second writer
would be a second truth. The lock is the kernel's, so it ends with the process, however that ends. Readers take none.
"""

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Final

from engine.errors import StoreUnavailableError, StoreUnfitError

MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs",
})  # fmt: skip


class FileGuard:
    """The lock on one database file; while it is held, no other controller opens the file."""

    def __init__(self, path: Path) -> None:
        """Take the lock; raises StoreUnfitError with the holder's process id when it is taken."""
        self._path = path
        self._lock = _locked(path)
        self._identity: tuple[int, int] | None = None

    def remember(self) -> None:
        """From now on the file must stay the one that it is."""
        self._identity = _identity(self._path)

    def check(self) -> None:
        """Raise StoreUnavailableError when the file was deleted or replaced: what is written to it would be lost."""
        if _identity(self._path) != self._identity:
            raise StoreUnavailableError(
                f"{self._path} is not the file that was opened: it was deleted or replaced; restart the controller"
            )

    def release(self) -> None:
        """Give the lock back. Safe to repeat."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def inspect(path: Path, *, mounts: Path = MOUNTS) -> None:
    """Raise StoreUnfitError when a database at this path could not be written, or must not be."""
    refuse_network(path, mounts=mounts)
    folder = path.parent
    if not folder.is_dir():
        raise StoreUnfitError(f"the folder {folder} of the database does not exist; create it or mount the volume")
    if path.is_dir():
        raise StoreUnfitError(f"{path} is a folder; name a file in it")
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreUnfitError(f"{place} cannot be written by this process; check its owner and the mount's options")


def refuse_network(path: Path, *, mounts: Path = MOUNTS) -> None:
    """Raise StoreUnfitError when the path lies on a network file system."""
    kind = file_system(path, mounts=mounts)
    if kind in _NETWORK or kind.startswith("fuse."):
        raise StoreUnfitError(
            f"{path} lies on a network file system ({kind}), where SQLite loses data; use a local disk or a block"
            " volume (ReadWriteOnce), or Postgres"
        )


def file_system(path: Path, *, mounts: Path = MOUNTS) -> str:
    """Answer the type of the file system that holds the path; empty where the kernel does not tell."""
    if not mounts.exists():
        return ""
    wanted = path.resolve()
    best: tuple[int, str] = (-1, "")
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(_unescape(fields.split()[4]))
        if rest and wanted.is_relative_to(point) and len(point.parts) >= best[0]:
            best = (len(point.parts), rest.split()[0])  # Of two mounts on one point, the later covers the earlier.
    return best[1]


def _unescape(text: str) -> str:
    # The kernel writes blanks and backslashes as three octal digits.
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text


def _locked(path: Path) -> int:
    lock = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreUnfitError(f"{lock} cannot be opened: {error.strerror}; check its owner and the disk") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "unknown process"
        os.close(handle)
        if error.errno != errno.EWOULDBLOCK:
            raise StoreUnfitError(f"{lock} cannot be locked: {error.strerror}") from error
        raise StoreUnfitError(f"{path} is in use by another controller ({holder}); stop that one first") from None
    _sign(handle)
    return handle


def _sign(handle: int) -> None:
    text = f"process {os.getpid()} on {socket.gethostname()}\n".encode()
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)
    except OSError as error:
        # The name is for people; a full disk must not make the lock look taken.
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            os.close(handle)
            raise StoreUnfitError(f"the lock file cannot be written: {error.strerror}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
