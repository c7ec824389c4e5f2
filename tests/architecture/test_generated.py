"""The generated parts of the README say what the program says, and every part says something."""

import pytest

from engine.config import Settings
from tests.architecture import generate

TEXT = (
    "before\n<!-- generated: diagram -->\nold\n<!-- end -->\nbetween\n<!-- generated: verbs -->\n<!-- end -->\nafter\n"
)


def test_readme_is_what_the_program_says() -> None:
    """Nothing that `make generate` would change is left in the README."""
    text = generate.README.read_text("utf-8")
    assert generate.render(text) == text, "run `make generate` and commit README.md"


def test_readme_has_every_part_once() -> None:
    """Diagram, settings, verbs and metrics each stand in the README once."""
    names = [name for _, name, _, _ in generate.PART.findall(generate.README.read_text("utf-8"))]
    if not names:
        pytest.skip("README.md has no generated part yet")
    assert sorted(names) == sorted(generate.PARTS)


def test_stale_part_is_replaced_and_the_rest_is_left_alone() -> None:
    """Only what stands between markers changes, and a second turn changes nothing."""
    once = generate.render(TEXT)
    assert once.startswith("before\n<!-- generated: diagram -->\n```mermaid\nstateDiagram-v2\n")
    assert "old" not in once
    assert "\n<!-- end -->\nbetween\n<!-- generated: verbs -->\n| Verb | Does |\n" in once
    assert once.endswith("<!-- end -->\nafter\n")
    assert generate.render(once) == once


def test_unknown_part_is_refused() -> None:
    """A marker that nobody fills is an error and not an empty place."""
    with pytest.raises(KeyError, match="weather"):
        generate.render("<!-- generated: weather -->\n<!-- end -->")


def test_every_setting_verb_and_metric_says_what_it_is() -> None:
    """No row of a generated table lacks its meaning."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    groups = {name.split(" ")[0] for name in generate.verbs() if " " in name}
    assert [name for name, text in generate.verbs().items() if not text and name not in groups] == []
    assert "|  |\n" not in generate.metrics_table()
