"""Names in backticks must exist: this finds them in docstrings and comments, and says which stand for nothing.

A name stands for something when it is defined, spelled or importable where a reader would look: in its own module, in
the program, in the custom resources, among the commands, or in a library. The rest has a reason in `names.toml`.
"""

import ast
import importlib.metadata
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.architecture.sources import ROOT, Source

QUOTED = re.compile(r"``([^`\n]+)``|`([^`\n]+)`")
QUANTITY = re.compile(r"[-+]?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|%)?)+")
PLACEHOLDER = re.compile(r"<([a-z_]+)>", re.IGNORECASE)
OBJECT_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status", "data", "labels", "annotations"})


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Everything that a name in backticks may stand for, whatever module it stands in."""

    sources: tuple[Source, ...]
    fields: frozenset[str] = OBJECT_FIELDS
    commands: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Programs, and the verbs that each knows; an empty set takes every verb."""
    allowed: frozenset[str] = frozenset()

    @cached_property
    def defined(self) -> frozenset[str]:
        """Every class, function, constant, field and module of the program."""
        return frozenset(name for source in self.sources for name in (*_definitions(source), *_path_parts(source)))

    @cached_property
    def spelled(self) -> frozenset[str]:
        """Every text constant of the program."""
        return frozenset(text for source in self.sources for text in _constants(source))

    @cached_property
    def libraries(self) -> frozenset[str]:
        """Everything that can be imported by its first name."""
        return frozenset({*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), "builtins"})

    @cached_property
    def beginnings(self) -> str:
        """All text constants in one, to look for the fixed part of a name with a placeholder."""
        return "\n".join(sorted(self.spelled))


def unresolved(source: Source, vocabulary: Vocabulary) -> list[str]:
    """Answer the names in one file that stand for nothing, with their lines."""
    own = _identifiers(source.tree) | set(_constants(source))
    return [f"{source.path}:{line}: `{name}`" for line, name in quoted(source) if not _stands(name, own, vocabulary)]


def quoted(source: Source) -> Iterator[tuple[int, str]]:
    """Every name in backticks in the docstrings and comments of a file, with its line."""
    texts = [(text.lineno, str(text.value)) for text in _documentation(source.tree)]
    tokens = tokenize.generate_tokens(io.StringIO(source.text).readline)
    texts += [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    for start, text in texts:
        for match in QUOTED.finditer(text):
            yield start + text.count("\n", 0, match.start()), match[1] or match[2]


def load_allowed(path: Path) -> dict[str, str]:
    """The names that stand for something outside of this repository, each with a reason."""
    return dict(tomllib.loads(path.read_text("utf-8"))["names"])


@cache
def custom_resource_fields() -> frozenset[str]:
    """Every field of our custom resources, from the definitions themselves."""
    names = set(OBJECT_FIELDS)
    for path in sorted((ROOT / "kubernetes" / "crds").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            names |= set(_schema_fields(document))
    return frozenset(names)


def make_targets(makefile: str) -> frozenset[str]:
    """What `make` can be asked for."""
    return frozenset(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def _stands(name: str, own: set[str], words: Vocabulary) -> bool:
    program, _, rest = name.partition(" ")
    if rest and program in words.commands:
        verbs = words.commands[program]
        return not verbs or rest.split()[0] in verbs
    if "<" in name:
        return _stands_with_placeholder(name, words)
    simple = name in own or name in words.defined or name in words.spelled or name in words.allowed
    return simple or name in words.commands or _stands_elsewhere(name, own, words)


def _stands_elsewhere(name: str, own: set[str], words: Vocabulary) -> bool:
    if QUANTITY.fullmatch(name) or name in words.libraries:
        return True
    if name.startswith("--"):
        return name.removeprefix("--").replace("-", "_") in words.defined | own
    if re.fullmatch(r"[\w./-]+", name) and (ROOT / name).exists():
        return True
    if all(part in words.fields for part in name.split(".")):
        return True
    return _stands_as_expression(name, own, words)


def _stands_with_placeholder(name: str, words: Vocabulary) -> bool:
    fixed = name.partition("<")[0]
    if fixed:
        return fixed in words.beginnings
    return all(part in words.defined for part in PLACEHOLDER.findall(name))


def _stands_as_expression(name: str, own: set[str], words: Vocabulary) -> bool:
    """Whether it is an expression of which every part exists."""
    try:
        tree = ast.parse(name, mode="eval")
    except SyntaxError:
        return False
    if isinstance(tree.body, ast.Name | ast.Constant):
        return False
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if names & words.libraries and _importable(name):
        return True
    return names <= (own | words.defined) and attributes <= words.defined | own


def _importable(name: str) -> bool:
    module, _, rest = name.partition("(")[0].partition(".")
    try:
        thing: Any = importlib.import_module(module)
        for part in rest.split("."):
            thing = getattr(thing, part, None) or importlib.import_module(f"{thing.__name__}.{part}")
    except (ImportError, AttributeError):
        return False
    return True


def _documentation(tree: ast.Module) -> list[ast.Constant]:
    """Docstrings, also those below a field or a constant."""
    bare = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return [value for value in bare if isinstance(value, ast.Constant) and isinstance(value.value, str)]


def _constants(source: Source) -> Iterator[str]:
    documentation = set(map(id, _documentation(source.tree)))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def _definitions(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield from _identifiers(node.target)
        elif isinstance(node, ast.Assign):
            yield from (name for target in node.targets for name in _identifiers(target))


def _path_parts(source: Source) -> Iterable[str]:
    return (*source.path.removesuffix(".py").split("/"), *source.path.split("/"))


def _identifiers(tree: ast.AST) -> set[str]:
    """Every name that code uses, defines, takes or imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found |= {other or name, *name.split(".")}
            case _:
                pass
    return found


def _schema_fields(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        properties = node.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for value in node.values():
            yield from _schema_fields(value)
    elif isinstance(node, list):
        for value in node:
            yield from _schema_fields(value)
