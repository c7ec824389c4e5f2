"""Every name in backticks under engine/ and migrations/ stands for something that exists."""

import pytest

from tests.architecture import generate
from tests.architecture.names import Vocabulary, custom_resource_fields, load_allowed, make_targets, quoted, unresolved
from tests.architecture.sources import ROOT, Source, python_files

ALLOWED = load_allowed(ROOT / "tests" / "architecture" / "names.toml")
PROGRAM = tuple(source for source in python_files() if source.within("engine", "migrations"))
WORDS = Vocabulary(
    sources=PROGRAM,
    fields=custom_resource_fields(),
    commands={
        "make": make_targets((ROOT / "Makefile").read_text("utf-8")),
        "machine-engine": frozenset(generate.verbs()),
        "kubectl": frozenset(),
        "python": frozenset(),
    },
    allowed=frozenset(ALLOWED),
)

CODE = """
import json
LIMIT = 3
class Shelf:
    depth: int = 0
def put(shelf, weight): return "in-place"
"""


@pytest.mark.parametrize(
    "name",
    [
        "LIMIT",
        "Shelf.depth",
        "shelf.depth",
        "put(shelf, weight)",
        "LIMIT + weight",
        "in-place",
        "json.loads",
        "spec.providerID",
        "make test",
        "20m0s",
        "tests/architecture",
        "sqlite:///<path>",
        "engine.domain.lifecycle",
    ],
)
def test_name_that_stands_for_something_resolves(name: str) -> None:
    """What code, resources, commands, libraries or files define may stand in backticks."""
    source = Source(path="engine/domain/snippet.py", text=f'"""See `{name}`."""\n{CODE}# and ``{name}``\n')
    assert [found for _, found in quoted(source)] == [name, name]
    assert unresolved(source, WORDS) == []


@pytest.mark.parametrize(
    "name",
    [
        "no_such_name",
        "Shelf.heigth",
        "nothing.depth",
        "json.lodas",
        "spec.providerId",
        "make nonsense",
        "tests/nowhere",
        "--no-such-flag",
        "engine.domain.nowhere",
        "LIMIT + no_such_wait",
        "gopher:///<path>",
    ],
)
def test_name_that_stands_for_nothing_is_noticed(name: str) -> None:
    """A misspelt name is found, in a docstring as in a comment, with its line."""
    source = Source(path="engine/domain/snippet.py", text=f'"""Two lines.\n\nSee `{name}`."""\n{CODE}# and `{name}`\n')
    assert unresolved(source, WORDS) == [f"engine/domain/snippet.py:{line}: `{name}`" for line in (3, 10)]


@pytest.mark.parametrize("source", PROGRAM, ids=lambda source: source.path)
def test_names_in_file_resolve(source: Source) -> None:
    """No docstring and no comment names what does not exist."""
    faults = unresolved(source, WORDS)
    assert not faults, "\n" + "\n".join(faults)


def test_every_allowed_name_is_used_and_has_a_reason() -> None:
    """The list of exceptions holds nothing that nobody needs."""
    used = {name for source in PROGRAM for _, name in quoted(source)}
    assert set(ALLOWED) <= used
    assert all(len(reason) > 10 for reason in ALLOWED.values())
