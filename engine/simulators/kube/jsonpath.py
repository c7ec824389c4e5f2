"""The JSONPath that printer columns and scale paths are written in: a small part of the whole language."""

import re
from collections.abc import Callable
from typing import Any

_Step = Callable[[list[Any]], list[Any]]

_TOKEN = re.compile(
    r"\.?\[\?\(@(?P<test_path>[^=!<>]+?)\s*(?P<test>==|!=)\s*['\"]?(?P<wanted>[^'\")]*)['\"]?\)\]"
    r"|\.?\[(?P<quote>['\"])(?P<quoted>(?:\\.|[^\\])*?)(?P=quote)\]"
    r"|\.?\[(?P<index>-?\d+)\]"
    r"|\.?\[(?P<all>\*)\]"
    r"|\.(?P<name>(?:\\.|[^.\[\\])+)"
)


class JsonPath:
    """One path, made ready once."""

    def __init__(self, text: str) -> None:
        text = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
        self._steps: list[_Step] = []
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            if not token:
                raise ValueError(f"not a path that printer columns may have: {text}")
            self._steps.append(_step(token))
            position = token.end()

    def all(self, value: Any) -> list[Any]:
        """Answer everything that stands at the path."""
        found = [value]
        for step in self._steps:
            found = step(found)
        return found

    def first(self, value: Any) -> Any:
        """Answer what stands at the path, or None."""
        return next(iter(self.all(value)), None)


def _step(token: re.Match[str]) -> _Step:
    if token["test_path"]:
        return _filter(JsonPath(token["test_path"]), token["wanted"], equal=token["test"] == "==")
    if token["index"]:
        return lambda found: [item for value in found for item in _at(value, int(token["index"]))]
    if token["all"]:
        return lambda found: [item for value in found for item in _children(value)]
    name = re.sub(r"\\(.)", r"\1", token["quoted"] or token["name"])
    return lambda found: [value[name] for value in found if isinstance(value, dict) and name in value]


def _filter(path: JsonPath, wanted: str, *, equal: bool) -> _Step:
    def step(found: list[Any]) -> list[Any]:
        items = (item for value in found for item in _children(value))
        return [item for item in items if (str(path.first(item)) == wanted) == equal]

    return step


def _at(value: Any, place: int) -> list[Any]:
    if isinstance(value, list) and -len(value) <= place < len(value):
        return [value[place]]
    return []


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
