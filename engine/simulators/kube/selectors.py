"""Which objects are meant: label selectors as text and as objects, and field selectors."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.simulators.kube.errors import bad_request
from engine.simulators.kube.kinds import Json, Kind

Predicate = Callable[[Json], bool]

_TERM = re.compile(
    r"\s*(?:"
    r"(?P<set_key>[^\s!=,()<>]+)\s+(?P<set_op>in|notin)\s*\((?P<values>[^()]*)\)"
    r"|(?P<key>[^\s!=,()<>]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,()=!]*)"
    r"|!\s*(?P<absent>[^\s!=,()<>]+)"
    r"|(?P<present>[^\s!=,()<>]+)"
    r")\s*(?:,|$)"
)
_UNESCAPE = re.compile(r"\\([\\,=])")


def everything(_: Json) -> bool:
    """Answer yes."""
    return True


def by_labels(text: str) -> Predicate:
    """Answer whether an object's labels fulfil the selector, given as text."""
    if not text.strip():
        return everything
    tests: list[Callable[[Mapping[str, str]], bool]] = []
    position = 0
    while position < len(text):
        term = _TERM.match(text, position)
        if not term:
            raise bad_request(f"unable to parse requirement: found '{text[position:]}', expected: identifier")
        tests.append(_label_test(term))
        position = term.end()
    return lambda value: _all_hold(tests, value["metadata"].get("labels") or {})


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Answer whether the labels fulfil a selector object; no selector selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def by_fields(text: str, kind: Kind) -> Predicate:
    """Answer whether an object in the form of the kind fulfils the field selector."""
    if not text.strip():
        return everything
    terms = [_field_term(term, kind) for term in re.split(r"(?<!\\),", text)]
    return lambda value: all((field_text(value, path) == wanted) == equal for path, wanted, equal in terms)


def field_text(value: Any, path: str) -> str:
    """Answer what stands at a dotted path as text; nothing is the empty text."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path == "spec.unschedulable" else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _all_hold(tests: Sequence[Callable[[Mapping[str, str]], bool]], labels: Mapping[str, str]) -> bool:
    return all(test(labels) for test in tests)


def _label_test(term: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    found = term.groupdict()
    if found["set_key"]:
        values = {value.strip() for value in found["values"].split(",")}
        return _set_test(found["set_key"], found["set_op"], values)
    if found["absent"]:
        return lambda labels: found["absent"] not in labels
    if found["present"]:
        return lambda labels: found["present"] in labels
    if found["op"] in {">", "<"}:
        return _number_test(found["key"], found["op"], found["value"])
    return _set_test(found["key"], "notin" if found["op"] == "!=" else "in", {found["value"]})


def _set_test(key: str, operator: str, values: set[str]) -> Callable[[Mapping[str, str]], bool]:
    if operator == "in":
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: labels.get(key) not in values


def _number_test(key: str, operator: str, bound: str) -> Callable[[Mapping[str, str]], bool]:
    if not bound.lstrip("-").isdigit():
        raise bad_request(f"for 'Gt', 'Lt' operators, the value must be an integer, not {bound!r}")

    def holds(labels: Mapping[str, str]) -> bool:
        value = labels.get(key, "")
        if not value.lstrip("-").isdigit():
            return False
        return int(value) > int(bound) if operator == ">" else int(value) < int(bound)

    return holds


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    operators = {
        "In": lambda: labels.get(key) in values,
        "NotIn": lambda: labels.get(key) not in values,
        "Exists": lambda: key in labels,
        "DoesNotExist": lambda: key not in labels,
    }
    return operators[expression["operator"]]()


def _field_term(term: str, kind: Kind) -> tuple[str, str, bool]:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term.strip())
    if not match:
        raise bad_request(f"invalid selector: {term!r}; can't understand {term!r}")
    path, operator, wanted = match.groups()
    if path not in {"metadata.name", "metadata.namespace", *kind.fields}:
        raise bad_request(f"field label not supported: {path}")
    return path, _UNESCAPE.sub(r"\1", wanted), operator != "!="
