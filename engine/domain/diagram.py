"""The table of lives as Mermaid text; the README's picture is this module's output."""

from engine.domain.lifecycle import EDGES, START
from engine.domain.states import PLACES, Place, State


def mermaid() -> str:
    """Answer the state diagram: the five states with their steps, and every edge of the table that moves."""
    lines = ["stateDiagram-v2", f"    [*] --> {_node(START)}: admitted"]
    for state in State:
        lines += _group(state)
    lines += _edges()
    lines += [f"    {_node(place)} --> [*]" for place in PLACES if place.state is State.DELETED]
    return "\n".join(lines) + "\n"


def _group(state: State) -> list[str]:
    steps = [f"        {_node(place)}: {place.step}" for place in PLACES if place.state is state]
    return [f"    state {state} {{", *steps, "    }"]


def _edges() -> list[str]:
    labels: dict[tuple[Place, Place], list[str]] = {}
    for edge in EDGES:
        for source in edge.sources:
            if edge.target is not None:
                labels.setdefault((source, edge.target), []).append(edge.trigger)
    return [f"    {_node(a)} --> {_node(b)}: {', '.join(triggers)}" for (a, b), triggers in labels.items()]


def _node(place: Place) -> str:
    return f"{place.state}_{place.step}".replace("-", "_").lower()
