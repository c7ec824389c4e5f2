"""The page of promises names only tests, targets and settings that exist."""

import ast
import re

import pytest

from engine.config import Settings
from tests.architecture.sources import ROOT

PAGE = ROOT / ".github" / "PROMISES.md"
NAMED = re.compile(r"`(tests/[\w/.]+?)(?:::(test_\w+))?`")
TARGET = re.compile(r"`make ([a-z-]+)[^`]*`")
SETTING = re.compile(r"`--([a-z-]+)[^`]*`")


def text() -> str:
    return PAGE.read_text("utf-8")


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(text()))))
def test_named_test_exists(path: str, name: str) -> None:
    """Every file that the page names exists, and holds the test that is named with it."""
    file = ROOT / path
    assert file.exists()
    if name:
        tree = ast.parse(file.read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("target", sorted(set(TARGET.findall(text()))))
def test_named_target_exists(target: str) -> None:
    """Every target that the page names can be made."""
    assert f"\n{target}:" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("setting", sorted(set(SETTING.findall(text()))))
def test_named_setting_exists(setting: str) -> None:
    """Every setting that the page names can be set."""
    assert setting.replace("-", "_") in Settings.model_fields


def test_readme_leads_to_the_promises() -> None:
    """Whoever reads the README finds the page."""
    assert "(.github/PROMISES.md)" in (ROOT / "README.md").read_text("utf-8")
