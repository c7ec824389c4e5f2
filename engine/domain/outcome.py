"""What came of an attempt: the machine error codes that others read, and the text in which they expect them."""

import re
from dataclasses import dataclass
from enum import StrEnum

_ACCIDENTS = re.compile(r"[0-9a-f]{8}[0-9a-f-]*|\d+")  # ids and numbers differ between answers that mean the same
MESSAGE_LENGTH_MAX = 600  # an Event's message holds 1,024 bytes; the rest is ours


class Code(StrEnum):
    """The machine error codes of the contract; the spelling is read by the cluster autoscaler and by Gardener."""

    CANCELED = "Canceled"
    UNKNOWN = "Unknown"
    INVALID_ARGUMENT = "InvalidArgument"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    PERMISSION_DENIED = "PermissionDenied"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    FAILED_PRECONDITION = "FailedPrecondition"
    ABORTED = "Aborted"
    OUT_OF_RANGE = "OutOfRange"
    INTERNAL = "Internal"
    UNAVAILABLE = "Unavailable"
    UNAUTHENTICATED = "Unauthenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something did not succeed: a code for programs, and a sentence that says what, which and what to do now."""

    code: Code
    message: str

    def envelope(self) -> str:
        """Answer the text form that Gardener's regular expressions and the Go decoder read.

        Square brackets delimit code and message there, so the message's own become round ones.
        """
        plain = self.message.replace("[", "(").replace("]", ")")
        return f"machine codes error: code = [{self.code}] message = [{plain}]"


def problem(code: Code, message: str) -> Problem:
    """Answer a problem whose message is cut to `MESSAGE_LENGTH_MAX` characters."""
    short = message if len(message) <= MESSAGE_LENGTH_MAX else message[: MESSAGE_LENGTH_MAX - 1] + "…"
    return Problem(code=code, message=short)


def alike(one: Problem, other: Problem) -> bool:
    """Whether two problems are the same but for ids and numbers."""
    return one.code == other.code and _ACCIDENTS.sub("#", one.message) == _ACCIDENTS.sub("#", other.message)
