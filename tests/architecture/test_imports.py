"""The layers are contracts; this runs each one, and shows that a broken one is noticed."""

import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]

BROKEN = """
[tool.importlinter]
root_package = "engine"

[[tool.importlinter.contracts]]
name = "Upside down"
type = "layers"
containers = ["engine"]
layers = ["errors", "domain"]
"""


@pytest.fixture(autouse=True)
def loggers_stay(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """import-linter sets up logging for a whole process, and would silence every logger that is there already."""
    known = logging.getLogger(__name__)
    monkeypatch.setattr("logging.config.dictConfig", lambda _settings: None)
    yield
    assert not known.disabled


@pytest.mark.parametrize("contract", [contract["id"] for contract in CONTRACTS])
def test_contract_holds(contract: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No module imports what its layer, or the owner of a library, does not allow."""
    monkeypatch.chdir(ROOT)
    code = lint_imports(limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert code == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_broken_contract_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer that is imported from below fails the check, and the message names both modules."""
    config = tmp_path / "pyproject.toml"
    config.write_text(BROKEN, "utf-8")

    code = lint_imports(config_filename=str(config), no_cache=True, no_logo=True)

    assert code != EXIT_STATUS_SUCCESS
    assert "engine.domain.lifecycle -> engine.errors" in capsys.readouterr().out
