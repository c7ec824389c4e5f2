"""From what the API server and the network say to the port's errors; nobody above sees a status code."""

import contextlib
import re
from collections.abc import Iterator

import msgspec
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from engine.cluster import wire
from engine.errors import ClusterError
from engine.ports.cluster import (
    ClusterDeniedError,
    ClusterUnavailableError,
    ConflictError,
    ObjectGoneError,
    ObjectRefusedError,
)

MESSAGE_LENGTH_MAX = 500  # a refusal may quote the whole object; its beginning says enough
UID_MISMATCH = re.compile(r"UID in (the )?precondition")  # The API server has a code for conflicts, but none for these.
TRANSIENT = frozenset({408, 425, 429})  # these ask for a repetition although they begin with 4


class ExpiredError(ClusterUnavailableError):
    """The API server forgot the version that a list or watch started from: list again."""


def translate(status: int, body: bytes, what: str) -> ClusterError:  # noqa: PLR0911 - a table
    """Answer the port's error for an answer of the API server that is not a success."""
    refusal = read_refusal(body)
    text = f"{what}: the API server answered {status}: {_message(refusal, body)}"
    match status:
        case 404:
            return ObjectGoneError(text)
        case 409:
            return ObjectGoneError(text) if UID_MISMATCH.search(refusal.message or "") else ConflictError(text)
        case 410:
            return ExpiredError(text)
        case 401 | 403:
            return ClusterDeniedError(f"{text}; `machine-engine doctor` lists the permissions that are missing")
        case 422 if _names_uid(refusal):
            return ObjectGoneError(text)
        case _ if 400 <= status < 500 and status not in TRANSIENT:
            return ObjectRefusedError(text)
        case _:
            return ClusterUnavailableError(text)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Whatever the network, TLS or the client package raises inside leaves as a ClusterUnavailableError."""
    try:
        yield
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        reason = str(error)[:MESSAGE_LENGTH_MAX]
        raise ClusterUnavailableError(f"{what}: the API server does not answer: {reason}") from error


def read_refusal(body: bytes) -> wire.Status:
    """Answer the Status in this body, an empty one if there is none."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return wire.read_status(body)
    return wire.Status()


def _message(refusal: wire.Status, body: bytes) -> str:
    return (refusal.message or body.decode("utf-8", "replace"))[:MESSAGE_LENGTH_MAX] or "no reason given"


def _names_uid(refusal: wire.Status) -> bool:
    causes = (refusal.details.causes if refusal.details else None) or ()
    return any(cause.field == "metadata.uid" for cause in causes)
