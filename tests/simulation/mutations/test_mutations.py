"""A known wrong behaviour of a controller cannot hide: the simulation notices each one that is switched on."""

from collections.abc import Callable

import pytest

from engine.simulators.trial import promise_of
from tests.simulation.mutations.hunts import SEEDS, hunt
from tests.simulation.mutations.wrongs import WRONGS


@pytest.mark.timeout(600)  # the last hunts of a well-hidden one take a minute of an idle core
@pytest.mark.parametrize("wrong", WRONGS)
def test_a_wrong_behaviour_is_caught(
    wrong: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Worlds from a few seeds, or one of the named scenarios, break a promise; the report's table says which."""
    WRONGS[wrong](monkeypatch)
    caught = hunt()
    assert caught, f"nobody notices that {wrong}: neither {SEEDS} seeds nor the scenarios; fill that hole"
    record_property("mutation", (wrong, promise_of(caught.promise), caught.promise[:60], caught.hunt, caught.worlds))
