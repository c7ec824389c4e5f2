"""The URL of an SQLite file can name the layer (SQLite's VFS) through which the file is read and written."""

from pathlib import Path

import pytest

from engine.domain.machine import MachineFilter
from engine.errors import StoreUnavailableError, StoreUnfitError
from engine.store import check, open_store
from tests.contract.store_records import admitted, machine

IN_MEMORY = "?vfs=unix-excl"
"""A layer of SQLite's own: what connections share is kept in memory, and not in a file beside the database."""


@pytest.mark.parametrize(("layer", "shared"), [("", True), (IN_MEMORY, False)], ids=["none", "named"])
def test_named_layer_serves_every_door(sqlite_url: str, tmp_path: Path, layer: str, *, shared: bool) -> None:
    """Writing, reading and checking go through the layer that the URL names, and messages name the file only."""
    url = sqlite_url + layer
    store = open_store(url)
    admitted(store)
    reader = open_store(url, readonly=True)

    assert list(reader.find(MachineFilter())) == [machine()]
    assert "integrity: ok" in check(url)
    assert (tmp_path / "engine.db-shm").exists() == shared
    with pytest.raises(StoreUnfitError, match=r"engine\.db is in use by another controller"):
        open_store(url)
    reader.close()
    store.close()


def test_missing_file_is_named_without_the_layer(sqlite_url: str, tmp_path: Path) -> None:
    """A reader that finds no file says which, and creates none."""
    with pytest.raises(StoreUnfitError, match=r"no database at .*/engine\.db; start"):
        open_store(sqlite_url + IN_MEMORY, readonly=True)
    assert not list(tmp_path.iterdir())


def test_unknown_layer_is_named_and_leaves_no_lock(sqlite_url: str) -> None:
    """A layer that SQLite does not know is an error in words, and the file can be opened without it."""
    with pytest.raises(StoreUnavailableError, match="no such vfs: nowhere"):
        open_store(f"{sqlite_url}?vfs=nowhere")
    open_store(sqlite_url).close()
