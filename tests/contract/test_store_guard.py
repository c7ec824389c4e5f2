"""Which files and URLs are refused, and in which words; what a reader may do beside a controller."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.domain.machine import MachineFilter
from engine.errors import ConfigurationError, StoreError, StoreUnfitError
from engine.store import check, open_store
from engine.store.guard import file_system, refuse_network
from tests.contract.store_records import admitted, machine

HOLDER = """
import sys, time
from engine.store import open_store
store = open_store(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""
OPENER = """
import os, sys
from engine.errors import StoreUnfitError
from engine.store import open_store
if os.geteuid() == 0:  # root may write anywhere
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_store(sys.argv[1]).close()
except StoreUnfitError as refused:
    print(refused)
"""
MOUNTS = r"""
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv/share rw,relatime - nfs4 server:/export rw
31 22 0:41 / /srv/with\040blank rw,relatime shared:7 master:2 - cifs //server/share rw
32 22 0:42 / /srv/share/local rw,relatime - xfs /dev/vdb rw
33 22 0:43 / /srv/ssh rw,relatime - fuse.sshfs host: rw
34 22 0:44 / /srv/over rw,relatime - ext4 /dev/vdc rw
35 22 0:45 / /srv/over rw,relatime - ceph mon:/ rw
""".lstrip()


@pytest.fixture
def holder(sqlite_url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, sqlite_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    yield child
    child.kill()
    child.communicate()


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """A kernel's list of mounts."""
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


def test_second_controller_is_refused(sqlite_url: str, holder: subprocess.Popen[str]) -> None:
    """The message names the process that has the file."""
    with pytest.raises(StoreUnfitError, match=f"in use by another controller .process {holder.pid} on .*stop that one"):
        open_store(sqlite_url)


def test_lock_dies_with_its_process(sqlite_url: str, holder: subprocess.Popen[str]) -> None:
    """After a kill the file is free, although the lock's file is still there."""
    holder.kill()
    holder.wait()

    open_store(sqlite_url).close()

    assert Path(f"{sqlite_url.removeprefix('sqlite:///')}.lock").exists()


def test_second_store_in_one_process_is_refused(sqlite_url: str) -> None:
    """The lock holds inside a process too, and ends when the store is closed."""
    first = open_store(sqlite_url)

    with pytest.raises(StoreUnfitError, match=f"process {os.getpid()} "):
        open_store(sqlite_url)
    first.close()

    open_store(sqlite_url).close()


def test_reader_works_beside_the_controller(sqlite_url: str, holder: subprocess.Popen[str]) -> None:
    """Reading and checking need no lock; writing through a reader is refused."""
    reader = open_store(sqlite_url, readonly=True)

    assert not reader.find(MachineFilter())
    with pytest.raises(StoreError, match="reading only"):
        admitted(reader)
    assert "integrity: ok" in check(sqlite_url)
    reader.close()


def test_reader_works_without_a_controller(sqlite_url: str, tmp_path: Path) -> None:
    """What a controller left behind can be read, and is neither locked nor changed."""
    store = open_store(sqlite_url)
    admitted(store)
    store.close()
    before = (tmp_path / "engine.db").read_bytes()

    reader = open_store(sqlite_url, readonly=True)

    assert list(reader.find(MachineFilter())) == [machine()]
    open_store(sqlite_url).close()
    reader.close()
    assert (tmp_path / "engine.db").read_bytes() == before


@pytest.mark.postgres
def test_postgres_reader_cannot_write(postgres_url: str) -> None:
    """A reader sees what is there and changes nothing."""
    store = open_store(postgres_url)
    admitted(store)
    reader = open_store(postgres_url, readonly=True)

    assert list(reader.find(MachineFilter())) == [machine()]
    with pytest.raises(StoreError, match="reading only"):
        admitted(reader, 2)
    reader.close()
    store.close()


def test_reader_creates_nothing(sqlite_url: str, tmp_path: Path) -> None:
    """A missing file is named, and stays missing."""
    for attempt in (lambda: open_store(sqlite_url, readonly=True), lambda: check(sqlite_url)):
        with pytest.raises(StoreUnfitError, match=r"there is no database at .*engine\.db"):
            attempt()

    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_refused() -> None:
    """A read-only folder, and a read-only file in a good folder, are named."""
    with tempfile.TemporaryDirectory() as open_to_all:
        folder = Path(open_to_all)
        folder.chmod(0o777)
        (folder / "closed").mkdir(mode=0o555)
        (folder / "file.db").touch(mode=0o444)

        for place in (folder / "closed" / "engine.db", folder / "file.db"):
            opener = [sys.executable, "-c", OPENER, f"sqlite:///{place}"]
            said = subprocess.run(opener, capture_output=True, text=True, check=False)
            assert "cannot be written by this process" in said.stdout, said


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """A database is not created in a place that nobody prepared."""
    with pytest.raises(StoreUnfitError, match="does not exist; create it or mount the volume"):
        open_store(f"sqlite:///{tmp_path / 'missing' / 'engine.db'}")
    with pytest.raises(StoreUnfitError, match="is a folder"):
        open_store(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/engine.db", "ext4"),
        ("/srv/share/engine.db", "nfs4"),
        ("/srv/shared/engine.db", "ext4"),
        ("/srv/share/local/engine.db", "xfs"),
        ("/srv/with blank/engine.db", "cifs"),
        ("/srv/ssh/engine.db", "fuse.sshfs"),
        ("/srv/over/engine.db", "ceph"),
    ],
)
def test_network_file_systems_are_refused(mounts: Path, path: str, kind: str) -> None:
    """The nearest mount decides; what the kernel calls a network is refused with its name."""
    assert file_system(Path(path), mounts=mounts) == kind

    if kind in {"ext4", "xfs"}:
        refuse_network(Path(path), mounts=mounts)
    else:
        with pytest.raises(StoreUnfitError, match=f"network file system .{kind}"):
            refuse_network(Path(path), mounts=mounts)


def test_unknown_file_system_passes(tmp_path: Path) -> None:
    """Where the kernel keeps no list nothing is refused."""
    refuse_network(tmp_path / "engine.db", mounts=tmp_path / "missing")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory", "mysql://x/y", "x"])
def test_unsupported_url_is_refused(url: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(ConfigurationError, match=r"write sqlite:///path/to/file.db or postgresql://"):
        open_store(url)


@pytest.mark.postgres
def test_password_is_not_told(postgres_url: str) -> None:
    """A report on a database shows its address without the password."""
    lines = check(postgres_url.replace("engine@", "engine:hush@"))

    assert "hush" not in "\n".join(lines)
