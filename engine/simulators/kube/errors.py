"""What the API server refuses, in Kubernetes' own words: every refusal is a `Status` object with code and reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import EngineError
from engine.simulators.kube.causes import Cause
from engine.simulators.kube.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The parts of a Status that differ between refusals."""

    code: int
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


class StatusError(EngineError):
    """The request is refused; the caller gets the Status and nothing has changed."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message, refusal)
        self.message = message
        self.refusal = refusal

    def __str__(self) -> str:
        return self.message

    def status(self) -> dict[str, Any]:
        """Answer the Status object that the client reads."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.refusal.metadata),
            "status": "Failure",
            "message": self.message,
        }
        if self.refusal.reason:
            status["reason"] = self.refusal.reason
        if self.refusal.details:
            status["details"] = dict(self.refusal.details)
        return status | {"code": self.refusal.code}


def _details(kind: Kind, name: str) -> dict[str, Any]:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> StatusError:
    """Answer the refusal of a name that nothing has."""
    refusal = Refusal(code=404, reason="NotFound", details=_details(kind, name))
    return StatusError(f'{kind.resource} "{name}" not found', refusal)


def no_such_path() -> StatusError:
    """Answer the refusal of a path that no resource has."""
    return StatusError("the server could not find the requested resource", Refusal(code=404, reason="NotFound"))


def already_exists(kind: Kind, name: str, *, deleting: bool = False) -> StatusError:
    """Answer the refusal to create a name twice."""
    prefix = "object is being deleted: " if deleting else ""
    refusal = Refusal(code=409, reason="AlreadyExists", details=_details(kind, name))
    return StatusError(f'{prefix}{kind.resource} "{name}" already exists', refusal)


def conflict(
    kind: Kind,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> StatusError:
    """Answer the refusal of a write that is based on an old version."""
    refusal = Refusal(code=409, reason="Conflict", details=_details(kind, name))
    return StatusError(f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}', refusal)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """Answer the refusal of an object with wrong fields; all of them are listed."""
    texts = [f"{cause.field}: {cause.text}" if cause.field else cause.text for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(kind, name) | {"kind": kind.name, "causes": [cause.as_json() for cause in causes]}
    qualified = f"{kind.name}.{kind.group}" if kind.group else kind.name
    refusal = Refusal(code=422, reason="Invalid", details=details)
    return StatusError(f'{qualified} "{name}" is invalid: {listed}', refusal)


def invalid_option(options: str, cause: Cause) -> StatusError:
    """Answer the refusal of a parameter that has a wrong value."""
    details = {"group": "meta.k8s.io", "kind": options, "causes": [cause.as_json()]}
    message = f'{options}.meta.k8s.io "" is invalid: {cause.field}: {cause.text}'
    return StatusError(message, Refusal(code=422, reason="Invalid", details=details))


def version_required(kind: Kind, name: str) -> StatusError:
    """Answer the refusal to overwrite without saying what was read."""
    cause = Cause(field="metadata.resourceVersion", text="Invalid value: 0: must be specified for an update")
    details = _details(kind, name) | {"causes": [cause.as_json()]}
    message = f'{kind.resource} "{name}" is invalid: {cause.field}: {cause.text}'
    return StatusError(message, Refusal(code=422, reason="Invalid", details=details))


def precondition_failed(kind: Kind, name: str, why: str) -> StatusError:
    """Answer the refusal to delete another object than the one that was meant."""
    refusal = Refusal(code=409, reason="Conflict", details=_details(kind, name) | {"kind": kind.name})
    qualified = f"{kind.name}.{kind.group}" if kind.group else kind.name
    return StatusError(f'Operation cannot be fulfilled on {qualified} "{name}": {why}', refusal)


def unprocessable(message: str) -> StatusError:
    """Answer the refusal of a patch that cannot be applied."""
    return StatusError(message, Refusal(code=422, reason="Invalid"))


def bad_request(message: str) -> StatusError:
    """Answer the refusal of a request that makes no sense."""
    return StatusError(message, Refusal(code=400, reason="BadRequest"))


def unauthorized() -> StatusError:
    """Answer the refusal of a caller without the right token."""
    return StatusError("Unauthorized", Refusal(code=401, reason="Unauthorized"))


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[Mapping[str, str]] = ()) -> StatusError:
    """Answer the refusal of something that is not allowed now."""
    details = _details(kind, name) | ({"causes": list(causes)} if causes else {})
    refusal = Refusal(code=403, reason="Forbidden", details=details)
    return StatusError(f'{kind.resource} "{name}" is forbidden: {why}', refusal)


def method_not_allowed() -> StatusError:
    """Answer the refusal of a verb that the resource does not have."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(message, Refusal(code=405, reason="MethodNotAllowed"))


def not_acceptable(accepted: str) -> StatusError:
    """Answer the refusal to speak a format that the server does not know."""
    message = f"only the following media types are accepted: {accepted}"
    return StatusError(message, Refusal(code=406, reason="NotAcceptable"))


def unsupported_media_type(accepted: str) -> StatusError:
    """Answer the refusal of a body in an unknown format."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return StatusError(message, Refusal(code=415, reason="UnsupportedMediaType"))


def expired(message: str, metadata: Mapping[str, Any] | None = None) -> StatusError:
    """Answer the refusal of a version that is no longer remembered: list again."""
    return StatusError(message, Refusal(code=410, reason="Expired", metadata=metadata or {}))


def too_many_requests(message: str, causes: Sequence[Mapping[str, str]] = ()) -> StatusError:
    """Answer the refusal of an eviction that a disruption budget forbids now."""
    details = {"causes": list(causes)} if causes else {}
    return StatusError(message, Refusal(code=429, reason="TooManyRequests", details=details))


def version_too_large(asked: int, current: int) -> StatusError:
    """Answer the refusal of a list that is to be newer than anything."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    refusal = Refusal(code=504, reason="Timeout", details=details)
    return StatusError(f"Timeout: Too large resource version: {asked}, current: {current}", refusal)


def broken(message: str) -> StatusError:
    """Answer the refusal of a request that the server cannot carry out."""
    return StatusError(message, Refusal(code=500, reason=""))
