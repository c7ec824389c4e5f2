"""The database is lost, restored, locked out or full: nothing is bought or given back on the strength of that."""

import shutil
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from engine.simulators.metal import Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.live.stage import LiveStage, states_of

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(180)]

DISK_BYTES = 6 * 1024 * 1024  # room for a fresh database and its log, and for little else


def files_of(controller: ControllerProcess) -> list[Path]:
    """The files of an SQLite database."""
    path = Path(controller.database.removeprefix("sqlite:///"))
    return [each for each in path.parent.glob(f"{path.name}*") if not each.name.endswith(".lock")]


def copy_of(controller: ControllerProcess, folder: Path) -> Path:
    """A backup of the database of a controller that does not run."""
    folder.mkdir()
    for each in files_of(controller):
        shutil.copy2(each, folder)
    return folder


def restore(controller: ControllerProcess, backup: Path) -> None:
    """The database is what it was when the backup was made."""
    for each in files_of(controller):
        each.unlink()
    for each in backup.iterdir():
        shutil.copy2(each, Path(controller.database.removeprefix("sqlite:///")).parent)


def test_f16_lost_database_is_rebuilt_from_the_world(stage: LiveStage) -> None:
    """With its database gone, the controller adopts what runs, finishes what leaves, and buys nothing."""
    controller = stage.controller().start()
    names = ["lost-1", "lost-2", "lost-3", "lost-4"]
    stage.make_machines(*names)
    stage.await_phase("Running", *names)
    controller.kill()
    for each in files_of(controller):
        each.unlink()
    stage.delete_machines("lost-4")
    orders = stage.metal.journal.calls[Operation.CREATE]

    controller.start()

    stage.await_gone("lost-4")
    eventually(lambda: _active(controller) == {"lost-1", "lost-2", "lost-3"})
    assert set(stage.phases().values()) == {"Running"}
    assert stage.metal.journal.calls[Operation.CREATE] == orders
    assert {each.hostname for each in stage.metal.billing()} == {"lost-1", "lost-2", "lost-3"}
    stage.balance(controller)


def test_f16_restored_backup_buys_and_gives_back_nothing(stage: LiveStage, tmp_path: Path) -> None:
    """With an older copy of its database, the controller adopts what came since, and believes in what went."""
    controller = stage.controller().start()
    stage.make_machines("old-1", "old-2")
    stage.await_phase("Running", "old-1", "old-2")
    controller.kill()
    backup = copy_of(controller, tmp_path / "backup")
    controller.start()
    stage.make_machines("new-1", "new-2")
    stage.delete_machines("old-2")
    stage.await_phase("Running", "new-1", "new-2")
    stage.await_gone("old-2")
    controller.kill()
    restore(controller, backup)
    orders = stage.metal.journal.calls[Operation.CREATE]

    controller.start()

    eventually(lambda: _active(controller) >= {"old-1", "new-1", "new-2"})
    assert stage.metal.journal.calls[Operation.CREATE] == orders
    assert set(stage.phases().values()) == {"Running"}
    stage.balance(controller)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_f16_full_disk_stops_purchases_until_there_is_room(stage: LiveStage, small_disk: Path) -> None:
    """While the disk is full nothing new is bought, the log says so, and with room the Machines arrive."""
    controller = stage.controller(database=f"sqlite:///{small_disk / 'controller.db'}").start()
    controller.database = controller.settings["database"]
    stage.make_machines("early-1")
    stage.await_phase("Running", "early-1")
    filler = small_disk / "filler"
    fill(filler)
    orders = stage.metal.journal.calls[Operation.CREATE]

    stage.make_machines(*[f"late-{number}" for number in range(5)])

    eventually(lambda: "full" in controller.told())
    lists = stage.metal.journal.calls[Operation.LIST]
    eventually(lambda: stage.metal.journal.calls[Operation.LIST] > lists + 2)
    assert stage.metal.journal.calls[Operation.CREATE] == orders
    assert stage.phases()["early-1"] == "Running"
    filler.unlink()
    if not controller.running():
        controller.start()
    stage.await_phase("Running", *[f"late-{number}" for number in range(5)])
    stage.balance(controller)
    controller.kill()


def test_f16_disk_that_cannot_be_written_is_refused_in_words(stage: LiveStage, small_disk: Path) -> None:
    """On a disk that is mounted for reading only, the controller buys nothing, and says which path it cannot write."""
    controller = stage.controller(database=f"sqlite:///{small_disk / 'controller.db'}")
    controller.database = controller.settings["database"]
    remount(small_disk, "ro")
    stage.make_machines("patient-1")

    controller.start(ready=False)

    assert controller.exit_code() == 2
    assert f"{small_disk}" in controller.told()
    assert "cannot be" in controller.told()
    assert stage.metal.history() == []
    remount(small_disk, "rw")
    controller.start()
    stage.await_phase("Running", "patient-1")
    stage.balance(controller)
    controller.kill()


def fill(path: Path) -> None:
    """There is no room left on the disk of the path."""
    with path.open("wb", buffering=0) as sink:
        for size in (1 << 16, 1 << 12):
            while _writes(sink, b"\0" * size):
                pass


def remount(folder: Path, mode: str) -> None:
    """The disk is mounted for reading only, or for both."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def _writes(sink: FileIO, piece: bytes) -> bool:
    try:
        return sink.write(piece) == len(piece)
    except OSError:
        return False


def _active(controller: ControllerProcess) -> set[str]:
    return {name for name, state in states_of(controller.database).items() if state == "Active"}
