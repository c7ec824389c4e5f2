"""Writes the generated parts of the README: what the program says of itself, between markers.

`python tests/architecture/generate.py` rewrites them in place; a test compares them with what stands there.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from engine import cli, metrics
from engine.config import PREFIX, Settings
from engine.domain.diagram import mermaid

README = Path(__file__).resolve().parents[2] / "README.md"
PART = re.compile(r"(<!-- generated: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Rewrite the README's parts, and name those that changed."""
    before = README.read_text("utf-8")
    after = render(before)
    if after != before:
        README.write_text(after, "utf-8")
        print("README.md: generated parts were rewritten")
    return 0


def render(text: str) -> str:
    """Answer the text with every part between markers replaced by what the program says now."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}{part[4]}", text)


def diagram() -> str:
    """The table of lives as a picture."""
    return f"```mermaid\n{mermaid()}```\n"


def settings() -> str:
    """Every setting with its flag, its variable, its default and its meaning."""
    defaults = Settings().model_dump()
    rows = [
        (f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", _value(defaults[name]), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("Flag", "Environment", "Default", "Meaning"), rows)


def verbs() -> dict[str, str]:
    """Every verb of the command line, groups included, with its help."""
    return dict(_verbs_of(get_command(cli.app), ""))


def verbs_table() -> str:
    """The verbs and what they do."""
    rows = [(f"`machine-engine {name}`", help_text) for name, help_text in verbs().items() if help_text]
    return _table(("Verb", "Does"), rows)


def metrics_table() -> str:
    """Every metric with its type and its meaning."""
    ending = {"counter": "_total"}  # as a scraper sees it
    rows = [
        (f"`{each.name}{ending.get(each.type, '')}`", each.type, each.documentation)
        for each in metrics.REGISTRY.collect()
    ]
    return _table(("Metric", "Type", "Meaning"), sorted(rows))


PARTS: Mapping[str, Callable[[], str]] = {
    "diagram": diagram,
    "settings": settings,
    "verbs": verbs_table,
    "metrics": metrics_table,
}


def _verbs_of(group: Any, front: str) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        yield f"{front}{name}", "" if inner else " ".join((command.help or "").split("\n\n")[0].split())
        if inner:
            yield from _verbs_of(command, f"{front}{name} ")


def _value(value: object) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`" if shown else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, tuple("---" for _ in head), *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


if __name__ == "__main__":
    sys.exit(main())
