"""The picture in the README shows the whole table and nothing else."""

import re

from engine.domain.diagram import mermaid
from engine.domain.lifecycle import EDGES, START
from engine.domain.states import PLACES, Place, State

ARROW = re.compile(r"^    (\S+) --> (\S+): (.+)$", re.MULTILINE)


def node(place: Place) -> str:
    """What the diagram calls a place."""
    return f"{place.state}_{place.step}".lower().replace("-", "_")


def test_diagram_shows_every_place_inside_its_state() -> None:
    """Each state is a group, and each of its steps stands inside it under its own name."""
    text = mermaid()
    assert text.startswith("stateDiagram-v2\n")
    for state in State:
        group = re.search(rf"    state {state} {{\n(.*?)    }}\n", text, re.DOTALL)
        assert group, state
        steps = [f"        {node(place)}: {place.step}" for place in PLACES if place.state is state]
        assert group[1].splitlines() == steps


def test_diagram_shows_every_move_once_and_no_other() -> None:
    """Every row of the table that moves is an arrow with its trigger; rows that stay are not drawn."""
    arrows = {(a, b, trigger) for a, b, text in ARROW.findall(mermaid()) for trigger in text.split(", ")}
    moves = {(node(source), node(e.target), e.trigger.value) for e in EDGES if e.target for source in e.sources}
    assert arrows - {("[*]", node(START), "admitted")} == moves
    assert len(ARROW.findall(mermaid())) == len({(a, b) for a, b, _ in arrows})


def test_diagram_begins_with_an_admission_and_ends_when_deleted() -> None:
    """The picture has one way in and one way out."""
    text = mermaid()
    assert text.count("[*] -->") == 1
    assert text.count("--> [*]") == 1
    assert "    deleted_rest --> [*]\n" in text
