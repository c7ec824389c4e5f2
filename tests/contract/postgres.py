"""One real Postgres for a run of the tests; every test gets a fresh database from it."""

import atexit
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

START_SECONDS_MAX = 60
TEMPLATE = "template_engine"
_NUMBERS = itertools.count(1)


class PostgresMissingError(Exception):
    """There is no Postgres here and none can be had; the message says why."""


class PostgresServer:
    """A server of our own, on a socket in a folder of its own; `stop` leaves no trace."""

    def __init__(self, binaries: Path) -> None:
        """Make a cluster and start it; Postgres refuses root, so another user runs it then."""
        self._binaries = binaries
        self._user = _unprivileged() if os.geteuid() == 0 else None
        # A socket's path has 107 characters at most, which pytest's own folders exceed.
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if self._user:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._data = self._folder / "data"
        try:
            self._run("initdb", "-D", self._data, "-U", "engine", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def process_id(self) -> int:
        """The id of the main process."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://engine@/{database}?host={self._folder}"

    def start(self) -> None:
        """The server answers. A crash of the machine is not among the tests, so nothing waits for the disk."""
        settings = f"-c fsync=off -c listen_addresses= -c unix_socket_directories={self._folder} -c max_connections=200"
        log = self._folder / "log"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", str(START_SECONDS_MAX), "-l", log, "-o", settings, "start")

    def stop(self, mode: str = "immediate") -> None:
        """The server is down; its databases stay."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def discard(self) -> None:
        """Nothing is left. Safe to repeat."""
        if self._folder.exists():
            if (self._data / "postmaster.pid").exists():
                self.stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a fresh database, a copy of the template if one is named; dropped afterwards."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        self._command(made)
        try:
            yield self.url(name)
        finally:
            self._command(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @functools.cached_property
    def template(self) -> str:
        """The name of a database with our tables, upgraded once."""
        from engine.store import upgrade

        self._command(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(TEMPLATE)))
        upgrade(self.url(TEMPLATE))
        return TEMPLATE

    def _command(self, command: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(command)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        user: dict[str, Any] = (
            {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        )
        output = self._folder / f"{program}.out"  # A pipe would stay open as long as the server runs.
        with output.open("w") as sink:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=self._folder, check=False, **user
            )
        if done.returncode:
            raise PostgresMissingError(f"{program} failed: {output.read_text()[-400:]}")


@functools.cache
def server() -> PostgresServer:
    """The server of this process, started by the first who asks and discarded when the process ends."""
    started = PostgresServer(_binaries())
    atexit.register(started.discard)
    return started


def _binaries() -> Path:
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"]
        subprocess.run(install, env=environment, capture_output=True, check=False, timeout=300)
        found = _found()
    if found is None:
        raise PostgresMissingError("no initdb and postgres on PATH or in /usr/lib/postgresql; install postgresql")
    return found


def _found() -> Path | None:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]))
    on_path = shutil.which("initdb")
    candidates = [*reversed(packaged), *([Path(on_path).resolve().parent] if on_path else [])]
    needed = ("initdb", "pg_ctl", "postgres")
    return next((folder for folder in candidates if all((folder / name).exists() for name in needed)), None)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissingError("Postgres refuses to run as root and there is neither a user postgres nor nobody")
