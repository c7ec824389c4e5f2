"""A layer between SQLite and its files (SQLite calls it a VFS): an owner is asked before a file changes.

It is a copy of SQLite's own layer in which six functions are ours, inside the very library that Python's ``sqlite3``
is linked with; whatever is not asked for here goes to SQLite's own functions on the same file. It knows nothing of
disks and of power.
"""

import ctypes
import itertools
import sqlite3
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self

from engine.errors import ConfigurationError

OK: Final = 0
IOERR: Final = 10
_TRACKED: Final = 0x100 | 0x800 | 0x80000  # a database, its rollback journal, its write-ahead log; nothing temporary
_VERSION: Final = 3  # of SQLite's two tables: all of their fields that we know, since SQLite 3.7.6 and 3.7.17
_MAPS: Final = Path("/proc/self/maps")
_NUMBERS = itertools.count(1)
_KEPT: list["Layer"] = []
"""Layers with open files: SQLite would call into freed memory if they went."""

Function = Callable[..., int]
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_TRANSFER = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_SIZE = CFUNCTYPE(c_int, c_void_p, POINTER(c_int64))


class SqliteSealedError(ConfigurationError):
    """This Python's SQLite cannot be reached from outside: there is no simulated disk here."""


class Owner(Protocol):
    """Who is asked. Each answer is a result code of SQLite: OK lets it happen, everything else is an error."""

    def opened(self, path: str, content: Callable[[], bytes]) -> None:
        """Take note of an open file; `content` reads all that is in it."""
        ...

    def write(self, path: str, offset: int, content: bytes) -> int:
        """Answer whether this may be written."""
        ...

    def truncate(self, path: str, size: int) -> int:
        """Answer whether the file may end here."""
        ...

    def sync(self, path: str) -> int:
        """Answer whether the file is safe now; nothing else is done for it."""
        ...

    def delete(self, path: str) -> int:
        """Answer whether the file may go."""
        ...

    def closed(self, path: str) -> None:
        """Take note of the end of one opening."""
        ...


class _Methods(ctypes.Structure):
    """What SQLite can do with an open file."""

    version: int
    close: Function
    read: Function
    write: Function
    truncate: Function
    sync: Function
    size: Function
    _fields_: ClassVar = [
        ("version", c_int),
        ("close", _CLOSE),
        ("read", _TRANSFER),
        ("write", _TRANSFER),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        ("size", _SIZE),
        ("others", c_void_p * 12),
    ]


class _Vfs(ctypes.Structure):
    """What SQLite can do with a file system."""

    version: int
    next: int | None
    name: bytes
    open: Function
    delete: Function
    _fields_: ClassVar = [
        ("version", c_int),
        ("file_size", c_int),
        ("path_length_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("private", c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("others", c_void_p * 14),
    ]


class Layer:
    """One VFS; SQLite knows it by its name until it is closed."""

    def __init__(self, owner: Owner) -> None:
        """Register it; raises SqliteSealedError where SQLite cannot be reached."""
        self.name = f"layer-{next(_NUMBERS)}"
        self.errors: list[BaseException] = []
        """What went wrong in our own functions: SQLite only saw that a file failed."""
        self._owner = owner
        self._library = _library()
        self._below = _Vfs.from_address(_found(self._library))
        self._files: dict[int, tuple[str, _Methods]] = {}
        self._tables: dict[int, _Methods] = {}
        self._ours = (
            _CLOSE(self._close),
            _TRANSFER(self._write),
            _TRUNCATE(self._truncate),
            _SYNC(self._sync),
        )
        self._vfs = _Vfs.from_buffer_copy(self._below)
        self._vfs.next, self._vfs.name = None, self.name.encode()
        self._vfs.open, self._vfs.delete = _OPEN(self._open), _DELETE(self._delete)
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 0)
        _KEPT.append(self)

    @property
    def open_files(self) -> int:
        """How many files SQLite holds open through this layer."""
        return len(self._files)

    def close(self) -> None:
        """No file can be opened through it any more; those that are open stay so."""
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))
        if not self._files and self in _KEPT:
            _KEPT.remove(self)

    def _open(self, _: int, name: int | None, file: int, flags: int, answered: int | None) -> int:
        with _Contained(self.errors):
            code = self._below.open(ctypes.addressof(self._below), name, file, flags, answered)
            if code != OK or name is None or not flags & _TRACKED:
                return code
            path, pointer = ctypes.string_at(name).decode(), c_void_p.from_address(file)
            assert pointer.value is not None
            methods = _Methods.from_address(pointer.value)
            self._owner.opened(path, lambda: _content(methods, file))
            self._files[file] = (path, methods)
            pointer.value = ctypes.addressof(self._table(pointer.value, methods))
            return OK
        return IOERR

    def _table(self, address: int, methods: _Methods) -> _Methods:
        """Answer the table of functions in which some are ours; files of different kinds have different ones."""
        if address not in self._tables:
            table = _Methods.from_buffer_copy(methods)
            table.close, table.write, table.truncate, table.sync = self._ours
            self._tables[address] = table
        return self._tables[address]

    def _delete(self, _: int, name: int, durably: int) -> int:
        with _Contained(self.errors):
            code = self._owner.delete(ctypes.string_at(name).decode())
            return code or self._below.delete(ctypes.addressof(self._below), name, durably)
        return IOERR

    def _write(self, file: int, content: int, amount: int, offset: int) -> int:
        with _Contained(self.errors):
            path, methods = self._files[file]
            code = self._owner.write(path, offset, ctypes.string_at(content, amount))
            return code or methods.write(file, content, amount, offset)
        return IOERR

    def _truncate(self, file: int, size: int) -> int:
        with _Contained(self.errors):
            path, methods = self._files[file]
            return self._owner.truncate(path, size) or methods.truncate(file, size)
        return IOERR

    def _sync(self, file: int, _: int) -> int:
        with _Contained(self.errors):
            return self._owner.sync(self._files[file][0])
        return IOERR

    def _close(self, file: int) -> int:
        with _Contained(self.errors):
            path, methods = self._files.pop(file)
            self._owner.closed(path)
            return methods.close(file)
        return IOERR


class _Contained:
    """Keeps every exception: none may reach SQLite, which is written in C."""

    def __init__(self, errors: list[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if error is not None:
            self._errors.append(error)
        return True


def _content(methods: _Methods, file: int) -> bytes:
    # Through SQLite's own handle: to close another one would drop every lock that this process has on the file.
    size = c_int64()
    code = methods.size(file, ctypes.byref(size))
    content = ctypes.create_string_buffer(max(1, size.value))
    code = code or methods.read(file, ctypes.addressof(content), size.value, 0)
    if code != OK:
        raise OSError(f"SQLite could not read its file (result {code})")
    return content.raw[: size.value]


def _found(library: ctypes.CDLL) -> int:
    """Answer where SQLite's own layer is."""
    library.sqlite3_vfs_find.restype = c_void_p
    address = library.sqlite3_vfs_find(None)
    if not isinstance(address, int) or _Vfs.from_address(address).version < _VERSION:
        raise SqliteSealedError(f"SQLite {sqlite3.sqlite_version} has no file layer that can be copied")
    return address


def _library() -> ctypes.CDLL:
    """Answer the library that ``sqlite3`` calls: another one would not know the files that Python opens."""
    lines = _MAPS.read_text("utf-8").splitlines() if _MAPS.exists() else []
    mapped = [line.split(maxsplit=5)[-1] for line in lines]
    places = dict.fromkeys(place for place in mapped if "/libsqlite3." in place)
    for place in places:
        library: Any = ctypes.CDLL(place)
        library.sqlite3_libversion.restype = c_char_p
        if library.sqlite3_libversion().decode() == sqlite3.sqlite_version:
            return ctypes.CDLL(place)
    raise SqliteSealedError(
        "this Python has SQLite built in, so that no simulated disk can be put below it; use a Python that is linked"
        " with the system's libsqlite3"
    )
