"""From an answer to a decision: which error of the port it proves. The only module that reads the API's wording.

The same shortage comes with 422 or 503 and the same 503 may hide a purchase, so words decide before status classes.
Whether the API itself spoke matters too: a load balancer's 404 says nothing about a device.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec

from engine.ports.provider import (
    AccessDeniedError,
    DeviceBusyError,
    DeviceNotFoundError,
    InvalidRequestError,
    OutcomeUnknownError,
    OutOfCapacityError,
    ProviderRefusal,
    ThrottledError,
    UnavailableError,
)
from engine.providers.equinix.api import Answer, Silence

TEXT_CHARACTERS_MAX = 300  # of the API's own words in a message
TEXTS_MAX = 5
SECRET_LINE_CHARACTERS_MIN = 8  # a shorter line of user data is no secret, but may well be a word of the answer

# What was seen in the wild stands first in each pattern; the rest are near variants of it.
_SOLD_OUT = re.compile(
    r"aren't available servers|no provisionable|no available hardware reservations|not available in|no available"
    r"|insufficient public ipv4 space|insufficient capacity|out of capacity|quota|limit (reached|exceeded)",
    re.IGNORECASE,
)
_NOT_PROVISIONABLE = re.compile(r"is not provisionable|reservation .*(in use|already|deprovisioning)", re.IGNORECASE)
_BEING_RELEASED = re.compile(r"deprovisioning|already (been )?deleted", re.IGNORECASE)
_GATES = {401, 402, 403}  # answered before anything is done, whoever answers


class Action(Enum):
    """What was asked for, in the words of a message."""

    ORDER = "to order"
    LIST = "to list the devices of"
    LOOK = "to look at"
    RELEASE = "to release"


def succeeded(answer: Answer | Silence) -> bool:
    """Answer whether the API did what was asked."""
    return isinstance(answer, Answer) and 200 <= answer.status < 300


def released_before(answer: Answer | Silence) -> bool:
    """Answer whether a release was refused because the device is being taken back already."""
    return (
        isinstance(answer, Answer) and answer.status == 422 and bool(_BEING_RELEASED.search(" ".join(_texts(answer))))
    )


def refusal(answer: Answer | Silence, action: Action, *, subject: str, secrets: Sequence[str] = ()) -> ProviderRefusal:
    """Answer the error that an answer proves.

    The subject names what it was about. What the API says is quoted, unless it repeats one of the secrets.
    """
    if isinstance(answer, Silence):
        return _silent(answer, action, f"tried {action.value} {subject} and got no answer: {answer.reason}")
    texts = _texts(answer)
    message = f"tried {action.value} {subject} and was told: {_told(answer, texts, secrets)}"
    return _spoken(answer, action, " ".join(texts), message)


def unreadable(answer: Answer, action: Action, *, subject: str, what: str) -> ProviderRefusal:
    """Answer the error for a success whose text cannot be understood: it was done, or it was not the API that spoke."""
    return _unfinished(action, f"tried {action.value} {subject} and was told {what} (status {answer.status})")


def _silent(silence: Silence, action: Action, message: str) -> ProviderRefusal:
    if silence.sent:
        return _unfinished(action, message)
    return UnavailableError(f"{message}; check the address of the API and the way to it")


def _spoken(answer: Answer, action: Action, text: str, message: str) -> ProviderRefusal:
    """Answer the decision; the order of the questions matters."""
    status = answer.status
    if status == 429:
        return ThrottledError(message, answer.retry_at)
    shortage = _shortage(text, message) if action is Action.ORDER else None
    if shortage:
        return shortage
    if status in _GATES:
        return AccessDeniedError(f"{message}; check the API key in the secret and its rights in the project")
    if status == 413 and action is Action.ORDER:
        return InvalidRequestError(f"{message}; make the user data smaller")
    if not text or not 400 <= status < 500 or status == 408:
        return _unfinished(action, message)
    return _refused(answer, action, message)


def _shortage(text: str, message: str) -> ProviderRefusal | None:
    """Answer the decision when the API's words, with whatever status, say that there is no server now."""
    if _NOT_PROVISIONABLE.search(text):
        return DeviceBusyError(f"{message}; the reservation is tried again later")
    if _SOLD_OUT.search(text):
        return OutOfCapacityError(f"{message}; wait, or choose another plan or metro")
    return None


def _refused(answer: Answer, action: Action, message: str) -> ProviderRefusal:
    """Answer the decision for a refusal in the API's own form of error."""
    of_device = action in {Action.LOOK, Action.RELEASE}
    if answer.status == 404 and "x-request-id" not in answer.headers:
        return _unfinished(action, f"{message}; not the API itself said so")
    if answer.status == 404 and of_device:
        return DeviceNotFoundError(message)
    if answer.status in {409, 423} or action is Action.RELEASE:
        # A device that refuses to go bills on, so its release is tried for ever.
        return DeviceBusyError(f"{message}; it is tried again later")
    return InvalidRequestError(f"{message}; correct the MachineClass")


def _unfinished(action: Action, message: str) -> ProviderRefusal:
    if action is Action.ORDER:
        return OutcomeUnknownError(f"{message}; it may have been bought, so the devices are searched first")
    return UnavailableError(f"{message}; it is tried again later")


class _Body(msgspec.Struct):
    error: Any = None
    errors: Any = None


def _texts(answer: Answer) -> list[str]:
    """Answer the texts of one of the two documented error bodies; none when it is neither."""
    try:
        body = msgspec.json.decode(answer.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    found = [body.error, *(body.errors if isinstance(body.errors, list) else [body.errors])]
    return [text for text in found if isinstance(text, str) and text][:TEXTS_MAX]


def _told(answer: Answer, texts: Sequence[str], secrets: Sequence[str]) -> str:
    """Answer what was said, and how: nothing of it when any part repeats a secret."""
    text = _plain("; ".join(texts))
    kind, request_id = (answer.headers.get(name, "") for name in ("content-type", "x-request-id"))
    if _repeats(f"{text} {kind} {request_id}", secrets):
        return f"something that repeats a secret and is not shown (status {answer.status})"
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[: TEXT_CHARACTERS_MAX - 1] + "…"
    said = text or f"nothing in the API's own form ({kind.partition(';')[0][:40] or 'no content type'})"
    return f"{said} (status {answer.status}" + (f", request {request_id[:64]})" if request_id else ")")


def _repeats(text: str, secrets: Sequence[str]) -> bool:
    """Whether a line of a secret stands in the text, as it is or as JSON writes it within a string."""
    lines = [_plain(line) for secret in secrets for line in secret.splitlines()]
    heard = (text, text.replace("\\", ""))
    return any(line in each for line in lines if len(line) >= SECRET_LINE_CHARACTERS_MIN for each in heard)


def _plain(text: str) -> str:
    return " ".join(text.split())
