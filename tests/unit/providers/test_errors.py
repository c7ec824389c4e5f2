"""Which error an answer of the Metal API proves."""

import json
from datetime import UTC, datetime

import pytest

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
from engine.providers.equinix.errors import Action, refusal, released_before, succeeded

API = {"x-request-id": "req-1", "content-type": "application/json; charset=utf-8"}
HTML = b"<html><body>Bad Gateway</body></html>"
SOLD_OUT = "There aren't available servers in that metro"
NO_SERVERS = "The facility ams1 has no provisionable c3.small.x86 servers matching your criteria"
NO_RESERVATION = "There are no available hardware reservations for selected plan and facility"
NO_IPV4 = "The specified project contains insufficient public IPv4 space to complete the request. Please e-mail"
OH_SNAP = "Oh snap, something went wrong! We've logged the error and will take a look."


def said(status: int, text: str | None) -> Answer:
    """Answer what the API says with this status, in its newer form of error; None is a page of a load balancer."""
    if text is None:
        return Answer(status=status, headers={"content-type": "text/html"}, body=HTML)
    return Answer(status=status, headers=API, body=json.dumps({"errors": [text]}).encode())


CASES = [
    (Action.ORDER, 422, SOLD_OUT, OutOfCapacityError),
    (Action.ORDER, 503, SOLD_OUT, OutOfCapacityError),
    (Action.ORDER, 422, NO_SERVERS, OutOfCapacityError),
    (Action.ORDER, 503, NO_RESERVATION, OutOfCapacityError),
    (Action.ORDER, 422, NO_IPV4, OutOfCapacityError),
    (Action.ORDER, 422, "Server is not provisionable", DeviceBusyError),
    (Action.ORDER, 422, "Tags must be 1-80 characters", InvalidRequestError),
    (Action.ORDER, 422, "x9 is not a valid plan", InvalidRequestError),
    (Action.ORDER, 422, "Facility can't be blank", InvalidRequestError),
    (Action.ORDER, 422, "must have at least one SSH key or explicitly send no_ssh_keys option", InvalidRequestError),
    (Action.ORDER, 400, "Request body is not valid JSON", InvalidRequestError),
    (Action.ORDER, 413, None, InvalidRequestError),
    (Action.ORDER, 404, "Not found", InvalidRequestError),
    (Action.ORDER, 404, None, OutcomeUnknownError),
    (Action.ORDER, 422, None, OutcomeUnknownError),
    (Action.ORDER, 500, OH_SNAP, OutcomeUnknownError),
    (Action.ORDER, 503, "Service Unavailable", OutcomeUnknownError),
    (Action.ORDER, 502, None, OutcomeUnknownError),
    (Action.ORDER, 302, None, OutcomeUnknownError),
    (Action.ORDER, 408, "Request timeout", OutcomeUnknownError),
    (Action.ORDER, 401, "Invalid authentication token", AccessDeniedError),
    (Action.ORDER, 403, "You are not authorized", AccessDeniedError),
    (Action.ORDER, 403, None, AccessDeniedError),
    (Action.ORDER, 402, "Payment required", AccessDeniedError),
    (Action.ORDER, 429, "slow down", ThrottledError),
    (Action.ORDER, 429, None, ThrottledError),
    (Action.LOOK, 404, "Not found", DeviceNotFoundError),
    (Action.LOOK, 404, None, UnavailableError),
    (Action.LOOK, 401, "Invalid authentication token", AccessDeniedError),
    (Action.LOOK, 403, "You are not authorized to view this device", AccessDeniedError),
    (Action.LOOK, 500, OH_SNAP, UnavailableError),
    (Action.LOOK, 502, None, UnavailableError),
    (Action.LOOK, 301, None, UnavailableError),
    (Action.LOOK, 429, "slow down", ThrottledError),
    (Action.LOOK, 422, "no", InvalidRequestError),
    (Action.RELEASE, 404, "Not found", DeviceNotFoundError),
    (Action.RELEASE, 404, None, UnavailableError),
    (Action.RELEASE, 422, "Cannot delete a device while it is provisioning", DeviceBusyError),
    (Action.RELEASE, 422, "Cannot delete a locked item", DeviceBusyError),
    (Action.RELEASE, 409, "conflict", DeviceBusyError),
    (Action.RELEASE, 422, None, UnavailableError),
    (Action.RELEASE, 403, "You are not authorized to view this device", AccessDeniedError),
    (Action.RELEASE, 500, OH_SNAP, UnavailableError),
    (Action.RELEASE, 429, None, ThrottledError),
    (Action.LIST, 404, "Not found", InvalidRequestError),
    (Action.LIST, 404, None, UnavailableError),
    (Action.LIST, 401, "no", AccessDeniedError),
    (Action.LIST, 403, "no", AccessDeniedError),
    (Action.LIST, 503, SOLD_OUT, UnavailableError),
    (Action.LIST, 429, None, ThrottledError),
]


@pytest.mark.parametrize(("action", "status", "text", "error"), CASES)
def test_answer_proves_one_error(action: Action, status: int, text: str | None, error: type[ProviderRefusal]) -> None:
    """Each answer that is no success proves exactly one error, which says what was tried and which answer came."""
    found = refusal(said(status, text), action, subject="device d-1")

    assert type(found) is error
    assert str(found).startswith(f"tried {action.value} device d-1 and was told: ")
    assert f"status {status}" in str(found)
    assert text is None or (text[:40] in str(found) and "request req-1" in str(found))


@pytest.mark.parametrize(
    ("action", "sent", "error"),
    [
        (Action.ORDER, True, OutcomeUnknownError),
        (Action.ORDER, False, UnavailableError),
        (Action.LOOK, True, UnavailableError),
        (Action.RELEASE, True, UnavailableError),
        (Action.LIST, False, UnavailableError),
    ],
)
def test_silence_is_unknown_only_for_an_order_that_was_sent(
    action: Action, *, sent: bool, error: type[ProviderRefusal]
) -> None:
    """Without an answer an order may have been done, unless it never left; all else was not done."""
    assert type(refusal(Silence(reason="cut", sent=sent), action, subject="it")) is error


@pytest.mark.parametrize("status", [422, 404, 503, 500])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"errors": {"a": 1}}', b'{"error": 5}', b"null"])
def test_answer_in_no_known_form_decides_nothing(status: int, body: bytes) -> None:
    """A body that is no error of the API leaves an order's outcome unknown and a device where it is."""
    answer = Answer(status=status, headers=API, body=body)

    assert type(refusal(answer, Action.ORDER, subject="it")) is OutcomeUnknownError
    assert type(refusal(answer, Action.LOOK, subject="it")) is UnavailableError


def test_missing_device_is_proven_by_the_api_only() -> None:
    """A 404 in the API's form without the API's request id proves nothing: a gateway may have made it."""
    answer = Answer(status=404, headers={"content-type": "application/json"}, body=b'{"error": "Not found"}')

    assert type(refusal(answer, Action.LOOK, subject="it")) is UnavailableError


def test_both_error_bodies_are_read() -> None:
    """The documented forms, one text and a list of texts, mean the same."""
    one = Answer(status=422, headers=API, body=json.dumps({"error": SOLD_OUT}).encode())

    assert type(refusal(one, Action.ORDER, subject="it")) is OutOfCapacityError


def test_throttled_error_carries_the_wish() -> None:
    """The instant until which calls are refused is handed on."""
    at = datetime(2026, 1, 1, tzinfo=UTC)

    error = refusal(Answer(status=429, headers={}, retry_at=at), Action.LOOK, subject="it")

    assert isinstance(error, ThrottledError)
    assert error.retry_at == at


def test_text_that_repeats_a_secret_is_not_shown() -> None:
    """When the API repeats the token or a line of the user data, its text is left out of the message."""
    for text in ("bad token canary-token", "Userdata: '- curl -H hunter2-hunter2' is invalid"):
        error = refusal(
            said(422, text),
            Action.ORDER,
            subject="it",
            secrets=("canary-token", "#!/bin/sh\n- curl -H hunter2-hunter2"),
        )

        assert "canary" not in str(error)
        assert "hunter2" not in str(error)
        assert "not shown" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        'the body was {"userdata": "#!/bin/sh\\necho \\"hunter2-hunter2\\" | sh"}',
        'line: echo "hunter2-hunter2"    |   sh',
        'echo "hunter2-hunter2" | sh',
    ],
)
def test_secret_is_known_in_other_spellings(text: str) -> None:
    """Blanks that were folded and quotes that JSON escaped hide no line of the user data."""
    error = refusal(said(422, text), Action.LIST, subject="it", secrets=('#!/bin/sh\necho  "hunter2-hunter2" | sh\n',))

    assert "hunter2" not in str(error)
    assert "(status 422)" in str(error)


@pytest.mark.parametrize("name", ["x-request-id", "content-type"])
def test_header_that_repeats_a_secret_is_not_shown(name: str) -> None:
    """Not even its first characters."""
    answer = Answer(status=500, headers={name: "x" * 60 + "canary-token"})

    assert "xxx" not in str(refusal(answer, Action.LOOK, subject="it", secrets=("canary-token",)))


def test_long_text_is_cut() -> None:
    """A message stays short, whatever the API says."""
    assert len(str(refusal(said(422, "x" * 10_000), Action.ORDER, subject="it"))) < 500


def test_release_that_is_under_way_is_recognised() -> None:
    """A refusal because the device is being taken back already is as good as a success; provisioning is not."""
    assert released_before(said(422, "Cannot delete a device while it is deprovisioning"))
    assert not released_before(said(422, "Cannot delete a device while it is provisioning"))
    assert not released_before(Silence(reason="cut", sent=True))


def test_success_is_a_2xx() -> None:
    """Only an answer with 2xx is a success."""
    assert succeeded(Answer(status=204, headers={}))
    assert not succeeded(Answer(status=302, headers={}))
    assert not succeeded(Silence(reason="cut", sent=False))
