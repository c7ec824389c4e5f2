"""The program that is installed from a wheel has everything that the program in a checkout has."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, tracked_files

ASK = """
import json
from engine import resources
def tell(folder):
    return [str(folder), sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))]
print(json.dumps([tell(resources.migrations_path()), tell(resources.manifests_path())]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def expected(folder: str) -> set[str]:
    """What git tracks in a folder of the checkout."""
    return {path.relative_to(folder).as_posix() for path in tracked_files() if path.parts[0] == folder}


def test_wheel_holds_program_migrations_and_manifests(wheel: Path) -> None:
    """Every file of the program, every migration and every manifest is in the wheel, and no test is."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"engine/{name}" for name in expected("engine")} <= names
    assert {f"engine/_migrations/{name}" for name in expected("migrations")} <= names
    assert {f"engine/_manifests/{name}" for name in expected("kubernetes")} <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_installed_program_finds_its_migrations_and_manifests(wheel: Path, tmp_path: Path) -> None:
    """Installed far from the checkout, the program reads the migrations and definitions that came with it."""
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(target), str(wheel)], check=True)

    told = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )

    migrations, manifests = json.loads(told.stdout)
    assert Path(migrations[0]).is_relative_to(target)
    assert Path(manifests[0]).is_relative_to(target)
    assert expected("migrations") <= set(migrations[1])
    assert expected("kubernetes") <= set(manifests[1])
