"""The error tree, by reflection: every class is a decision, and survives the way to another process."""

import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

import pytest

import engine
from engine.errors import EngineError

# A value for each kind of parameter that an error may require.
EXAMPLES: dict[str, Any] = {"str": "machine m-1: what, which, what now", "Sequence[str]": ("one", "two"), "int": 3}


def modules() -> Iterator[str]:
    """Every module of the program but the one that starts it."""
    for found in pkgutil.walk_packages(engine.__path__, "engine."):
        if not found.name.endswith("__main__"):
            yield found.name


def errors() -> list[type[EngineError]]:
    """The root and every class below it, in any module of the program."""
    for name in modules():
        importlib.import_module(name)
    found, fresh = {EngineError}, [EngineError]
    while fresh:
        below = set(fresh.pop().__subclasses__()) - found
        found |= below
        fresh += below
    ours = [kind for kind in found if kind.__module__.startswith("engine.")]
    return sorted(ours, key=lambda kind: (kind.__module__, kind.__qualname__))


def example(kind: type[Any]) -> Any:
    """One error or record of this class; every parameter without a default gets a value of its type."""
    if kind.__init__ is Exception.__init__:
        return kind(EXAMPLES["str"])
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    required = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    positional = [value_for(each.annotation) for each in required if each.kind is not each.KEYWORD_ONLY]
    named = {each.name: value_for(each.annotation) for each in required if each.kind is each.KEYWORD_ONLY}
    return kind(*positional, **named)


def value_for(wanted: Any) -> Any:
    """A value of the type that an annotation names."""
    plain = isinstance(wanted, type) and not get_args(wanted)
    spelling = wanted.__name__ if plain else str(wanted).replace("collections.abc.", "")
    if spelling in EXAMPLES or not plain:
        return EXAMPLES[spelling]
    return next(iter(wanted)) if issubclass(wanted, Enum) else example(wanted)


def told(error: EngineError) -> tuple[object, ...]:
    """Everything that somebody can learn from an error."""
    return (type(error), error.args, str(error), vars(error))


def test_every_error_says_what_the_engine_does_next() -> None:
    """Every error class has a docstring of its own."""
    assert [kind.__qualname__ for kind in errors() if not vars(kind).get("__doc__")] == []


def test_every_error_survives_pickling() -> None:
    """An error that goes through a queue or to another process says the same there."""
    for kind in errors():
        error = example(kind)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert told(again) == told(error)
        assert str(again), kind


def test_error_that_forgets_its_arguments_is_noticed() -> None:
    """An error that hands its root a finished sentence cannot be made again from it."""

    class ForgetfulError(EngineError):
        """Hands on less than it takes."""

        def __init__(self, name: str, number: int) -> None:
            super().__init__(f"{name} {number}")

    error = example(ForgetfulError)
    with pytest.raises(TypeError):
        type(error)(*error.args)
