"""Values against an OpenAPI v3 schema, with the mistakes worded as the API server words them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from jsonschema import Draft4Validator, FormatChecker, ValidationError

from engine.simulators.kube.causes import Cause

_Wording = Callable[[str, Any, Any], str]  # field, what the schema says, what stands there

CAUSES_MAX = 100  # a message longer than that helps nobody

_PASSED_ON = frozenset({
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "type",
    "uniqueItems",
})  # fmt: skip
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TYPE_NAMES: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

_formats = FormatChecker(formats=())


@_formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_DATE_TIME.fullmatch(value))


class SchemaCheck:
    """One schema in the form that the validator library reads."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = Draft4Validator(_translated(schema), format_checker=_formats)

    def causes(self, value: Any) -> list[Cause]:
        """Answer everything that is wrong with the value, each mistake once, in the order of the fields."""
        found: dict[tuple[str, str], Cause] = {}
        for error in self._validator.iter_errors(value):
            for cause in _causes_of(error):
                found[cause.field, cause.text] = cause
        return [found[key] for key in sorted(found)][:CAUSES_MAX]


def _translated(schema: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {key: schema[key] for key in schema.keys() & _PASSED_ON}
    if schema.get("format") == "date-time":
        answer["format"] = "date-time"
    if schema.get("x-kubernetes-int-or-string"):
        answer["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in answer:
        named = answer["type"] if isinstance(answer["type"], list) else [answer["type"]]
        answer["type"] = [*named, "null"]
    if "properties" in schema:
        answer["properties"] = {name: _translated(field) for name, field in schema["properties"].items()}
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), Mapping):
            answer[name] = _translated(schema[name])
    if not schema.get("x-kubernetes-int-or-string"):
        for name in {"allOf", "anyOf", "oneOf"} & schema.keys():
            answer[name] = [_translated(part) for part in schema[name]]
    return answer


def _causes_of(error: ValidationError) -> list[Cause]:
    field, limit, value = _field(error), cast("Any", error.validator_value), cast("Any", error.instance)
    if error.validator == "required":
        missing = [name for name in limit if name not in value]
        return [Cause(field=f"{field}.{name}" if field else name, text="Required value") for name in missing]
    word = _WORDINGS.get(str(error.validator))
    text = word(field, limit, value) if word else f"Invalid value: {_quoted(value)}: {error.message}"
    return [Cause(field=field, text=text)]


def _field(error: ValidationError) -> str:
    field = ""
    for part in error.absolute_path:
        field += f"[{part}]" if isinstance(part, int) else (f".{part}" if field else str(part))
    return field


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrong_type(field: str, limit: Any, value: Any) -> str:
    wanted = limit if isinstance(limit, str) else limit[0]
    seen = _TYPE_NAMES.get(type(value), "object")
    return f'Invalid value: "{seen}": {field} in body must be of type {wanted}: "{seen}"'


def _wrong_choice(_: str, limit: Any, value: Any) -> str:
    return f"Unsupported value: {_quoted(value)}: supported values: {', '.join(map(_quoted, limit))}"


def _wrong_format(field: str, limit: Any, value: Any) -> str:
    return f"Invalid value: {_quoted(value)}: {field} in body must be of type {limit}: {_quoted(value)}"


def _too_long(_: str, limit: Any, __: Any) -> str:
    return f"Too long: may not be more than {limit} bytes"


def _too_many(_: str, limit: Any, value: Any) -> str:
    return f"Too many: {len(value)}: must have at most {limit} items"


def _body(template: str) -> _Wording:
    def worded(field: str, limit: Any, value: Any) -> str:
        return f"Invalid value: {_quoted(value)}: {field} in body {template.format(limit=limit)}"

    return worded


_WORDINGS: Mapping[str, _Wording] = {
    "type": _wrong_type,
    "enum": _wrong_choice,
    "format": _wrong_format,
    "pattern": _body("should match '{limit}'"),
    "minimum": _body("should be greater than or equal to {limit}"),
    "maximum": _body("should be less than or equal to {limit}"),
    "multipleOf": _body("should be a multiple of {limit}"),
    "minLength": _body("should be at least {limit} chars long"),
    "maxLength": _too_long,
    "minItems": _body("should have at least {limit} items"),
    "maxItems": _too_many,
    "minProperties": _body("should have at least {limit} properties"),
    "maxProperties": _too_many,
    "uniqueItems": _body("shouldn't contain duplicates"),
    "anyOf": _body("must validate at least one schema (anyOf)"),
    "oneOf": _body("must validate one and only one schema (oneOf). Found none valid"),
    "not": _body("must not validate the schema (not)"),
}
