"""In which form a client wants to read, and in which one it wrote."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import yaml

from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.kube.errors import StatusError, bad_request, not_acceptable, unsupported_media_type
from engine.simulators.kube.protobuf import PROTOBUF_TYPE, object_of

_ACCEPTED = "application/json, application/yaml"
_JSON_TYPES = frozenset({"application/json", "application/*", "*/*", ""})
_YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml"})


class Shape(Enum):
    """How much of the objects a client wants, and how."""

    WHOLE = "the objects themselves"
    TABLE = "rows for people"
    METADATA = "metadata only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the client's Accept header came to."""

    shape: Shape = Shape.WHOLE
    as_yaml: bool = False


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: an unquoted date stays a text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def wish(request: HttpRequest) -> Wish:
    """Answer the first form on the client's list that the server speaks."""
    for clause in request.headers.get("accept", "").split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        wanted = dict(parameter.partition("=")[::2] for parameter in parameters)
        shape = _shape(wanted)
        if shape and media in _JSON_TYPES:
            return Wish(shape=shape)
        if shape is Shape.WHOLE and media in _YAML_TYPES:
            return Wish(as_yaml=True)
    raise not_acceptable(_ACCEPTED)


def body_of(request: HttpRequest) -> Any:
    """Answer the request's body as a value."""
    media = media_type(request)
    if media in _YAML_TYPES:
        return _from_yaml(request.body)
    if media == PROTOBUF_TYPE:
        return object_of(request.body)
    if media.endswith("json") or media in _JSON_TYPES:
        try:
            return msgspec.json.decode(request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    raise unsupported_media_type(_ACCEPTED)


def media_type(request: HttpRequest) -> str:
    """Answer what the client says about its body."""
    return request.headers.get("content-type", "").partition(";")[0].strip()


def answer(status: int, payload: bytes, wanted: Wish, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer a JSON document in the form that was asked for."""
    media = "application/json"
    if wanted.as_yaml:
        payload = yaml.safe_dump(msgspec.json.decode(payload), sort_keys=False).encode()
        media = "application/yaml"
    return HttpResponse(status=status, headers={"Content-Type": media, **(headers or {})}, body=payload)


def document(value: Any, status: int = 200, wanted: Wish | None = None) -> HttpResponse:
    """Answer a value."""
    return answer(status, msgspec.json.encode(value), wanted or Wish())


def refusal(error: StatusError) -> HttpResponse:
    """Answer a refusal as its Status."""
    status = error.status()
    wait = status.get("details", {}).get("retryAfterSeconds")
    headers = {"Retry-After": str(wait)} if wait else {}
    return answer(error.refusal.code, msgspec.json.encode(status), Wish(), headers)


def _shape(wanted: Mapping[str, str]) -> Shape | None:
    name = wanted.get("as", "")
    if name and wanted.get("v", "v1") != "v1":
        return None
    return {
        "": Shape.WHOLE,
        "Table": Shape.TABLE,
        "PartialObjectMetadata": Shape.METADATA,
        "PartialObjectMetadataList": Shape.METADATA,
    }.get(name)


def _from_yaml(body: bytes) -> Any:
    try:
        return yaml.load(body, Loader=_Loader)  # noqa: S506 - a SafeLoader without dates
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error
