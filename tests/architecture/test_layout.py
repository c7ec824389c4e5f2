"""The top level is closed, and no file knows the machine or the registry that somebody happened to use."""

import re

import pytest

from tests.architecture.sources import text_files, tracked_files

TOP_LEVEL = {
    "CHANGELOG.md",
    "Dockerfile",
    "Makefile",
    "README.md",
    "engine",
    "kubernetes",
    "migrations",
    "pyproject.toml",
    "requirements.lock",
    "tests",
}
DOT_NAMES = {".ci", ".dockerignore", ".github", ".gitignore"}

# Each is put together here from parts, so that this file does not find itself.
HOMES = ("work", "root", "home", "Users", "tmp")
MACHINE_PATH = re.compile(rf"(?<![\w.~*-])/(?:{'|'.join(HOMES)})/[A-Za-z.]")
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "proxy.go" + "lang.org",
    "sum.go" + "lang.org",
    "npm" + "js.org",
)
INDEX_OPTION = re.compile(r"--(?:extra-)?index" r"-url|GO" r"PROXY=http|find" r"-links")  # fmt: skip


def places(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The lines of a text that hold the pattern, with their numbers."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"{number}: {line.strip()[:120]}" for number, line in lines if pattern.search(line)]


def test_top_level_is_closed() -> None:
    """Nothing stands beside the folders and files that the layout names."""
    names = {path.parts[0] for path in tracked_files()}
    assert names <= TOP_LEVEL | DOT_NAMES


def test_manifests_are_no_package() -> None:
    """The folder of manifests has the name of the client package, and never hides it."""
    assert not [path for path in tracked_files() if path.parts[0] == "kubernetes" and path.suffix == ".py"]


@pytest.mark.parametrize("text", [f"see /{home}/x" for home in HOMES] + ['open("/' + 'root/.kube/config")'])
def test_path_of_one_machine_is_noticed(text: str) -> None:
    """A path below somebody's home or working folder is found."""
    assert places(text, MACHINE_PATH)


@pytest.mark.parametrize("text", ["docs/work/x", "~/work/x", "/metal/v1/devices", "a/tmp/b", "https://h.example/tmp/x"])
def test_other_path_is_left_alone(text: str) -> None:
    """A path that only resembles one of a machine is not taken for one."""
    assert not places(text, MACHINE_PATH)


@pytest.mark.parametrize(("path", "text"), text_files(), ids=[path for path, _ in text_files()])
def test_file_knows_no_machine_and_no_registry(path: str, text: str) -> None:
    """No tracked file holds a path of one machine, or says which package registry to ask."""
    found = places(text, MACHINE_PATH) + places(text, INDEX_OPTION)
    found += places(text, re.compile("|".join(map(re.escape, REGISTRIES))))
    assert not found, f"{path}: {found}"
