"""Answers and network errors as decisions."""

import json
from typing import Any

import pytest
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from engine.cluster.errors import ExpiredError, translate, translated
from engine.errors import ClusterError
from engine.ports.cluster import (
    ClusterDeniedError,
    ClusterUnavailableError,
    ConflictError,
    ObjectGoneError,
    ObjectRefusedError,
)

PRECONDITION = "the UID in the precondition (a) does not match the UID in record (b)"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {}, ObjectGoneError),
        (409, {"reason": "Conflict", "message": "the object has been modified"}, ConflictError),
        (409, {"reason": "AlreadyExists"}, ConflictError),
        (409, {"message": PRECONDITION}, ObjectGoneError),
        (409, {"message": "Precondition failed: UID in precondition: a, UID in object meta: b"}, ObjectGoneError),
        (422, {"details": {"causes": [{"field": "metadata.uid"}]}}, ObjectGoneError),
        (422, {"details": {"causes": [{"field": "metadata.labels"}]}}, ObjectRefusedError),
        (422, {"details": None}, ObjectRefusedError),
        (400, {}, ObjectRefusedError),
        (413, {}, ObjectRefusedError),
        (401, {}, ClusterDeniedError),
        (403, {}, ClusterDeniedError),
        (410, {}, ExpiredError),
        (429, {}, ClusterUnavailableError),
        (500, {}, ClusterUnavailableError),
        (503, {}, ClusterUnavailableError),
        (302, {}, ClusterUnavailableError),
    ],
)
def test_each_answer_is_one_decision(status: int, body: dict[str, Any], expected: type[ClusterError]) -> None:
    """Each status, with the reason where it matters, is exactly one of the port's errors."""
    assert type(translate(status, json.dumps(body).encode(), "patch of m-1")) is expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[]", b'{"code": "x"}'])
def test_a_body_of_any_sort_makes_a_message(body: bytes) -> None:
    """The error says what was tried and which status came, whatever came with it."""
    assert "patch of m-1: the API server answered 500" in str(translate(500, body, "patch of m-1"))


def test_messages_have_a_limit() -> None:
    """A refusal that quotes the object does not fill the log."""
    body = json.dumps({"message": "x" * 10_000}).encode()
    assert len(str(translate(422, body, "patch"))) < 700


@pytest.mark.parametrize(
    "error",
    [
        urllib3.exceptions.ProtocolError("cut"),
        urllib3.exceptions.SSLError("bad certificate"),
        ConnectionResetError("reset"),
        ApiException(status=0, reason="odd"),
    ],
)
def test_network_errors_mean_that_nobody_answers(error: Exception) -> None:
    """The error says what was tried, and keeps its cause."""
    with pytest.raises(ClusterUnavailableError, match="patch of m-1") as caught, translated("patch of m-1"):
        raise error
    assert caught.value.__cause__ is error


def test_a_translated_error_stays_what_it_is() -> None:
    """What already is a decision passes unchanged."""
    with pytest.raises(ConflictError), translated("patch"):
        raise ConflictError("changed")
