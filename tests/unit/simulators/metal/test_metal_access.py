"""Who is let in: keys, projects, and the request limit."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import requests

from engine.simulators.clock import VirtualClock
from engine.simulators.metal import (
    API_KEY,
    PROJECT_ID,
    ErrorBody,
    KeySettings,
    MetalSettings,
    ProjectSettings,
)

Api = Callable[..., requests.Response]

OTHER = "0d7f6d54-0d0b-49ef-9b5c-7ff5ce6fd7f1"
TWO_PROJECTS = MetalSettings(
    projects=(ProjectSettings(id=PROJECT_ID), ProjectSettings(id=OTHER)),
    keys=(
        KeySettings(token=API_KEY),
        KeySettings(token="other", projects=(OTHER,)),
        KeySettings(token="reader", read_only=True),
    ),
)


@pytest.mark.parametrize("token", [None, "unknown"])
def test_request_without_a_good_key_is_refused(api: Api, token: str | None) -> None:
    """Without a key, or with one that nobody gave out, everything is 401."""
    refused = api("GET", f"/projects/{PROJECT_ID}/devices", token=token)
    assert (refused.status_code, list(refused.json())) == (401, ["error"])


@pytest.mark.parametrize("settings", [MetalSettings(any_token=True)])
def test_any_key_can_be_let_in(api: Api) -> None:
    """With the switch on, every key opens everything, but there must be one."""
    assert api("GET", f"/projects/{PROJECT_ID}", token="whatever").status_code == 200
    assert api("GET", f"/projects/{PROJECT_ID}", token=None).status_code == 401


@pytest.mark.parametrize("settings", [TWO_PROJECTS])
def test_project_key_opens_its_project_only(api: Api, order: Api) -> None:
    """A project's key is refused with 403 in another project, and at a device there with the known words."""
    device = order().json()["id"]
    assert api("GET", f"/projects/{OTHER}/devices", token="other").json()["devices"] == []
    assert api("GET", f"/projects/{PROJECT_ID}/devices", token="other").status_code == 403
    foreign = api("GET", f"/devices/{device}", token="other")
    assert (foreign.status_code, foreign.json()) == (403, {"error": "You are not authorized to view this device"})
    assert len(api("GET", "/projects", token="other").json()["projects"]) == 1


@pytest.mark.parametrize("settings", [TWO_PROJECTS])
def test_read_only_key_cannot_write(api: Api, order: Api) -> None:
    """A key that may only read is refused with 403 when it orders, changes or deletes."""
    device = order().json()["id"]
    assert api("GET", f"/devices/{device}", token="reader").status_code == 200
    assert api("POST", f"/projects/{PROJECT_ID}/devices", token="reader", json={}).status_code == 403
    assert api("PUT", f"/devices/{device}", token="reader", json={}).status_code == 403
    assert api("DELETE", f"/devices/{device}", token="reader").status_code == 403
    assert api("POST", "/capacity/metros", token="reader", json={}).status_code == 422


def test_what_does_not_exist_is_not_found(api: Api) -> None:
    """Unknown projects, devices, reservations, metros and paths are 404."""
    for path in (
        f"/projects/{OTHER}/devices",
        f"/devices/{OTHER}",
        f"/hardware-reservations/{OTHER}",
        "/locations/metros/zz",
        "/devices",
        "/no/such/path",
    ):
        assert api("GET", path).status_code == 404
    assert api("POST", "/plans").status_code == 404


@pytest.mark.parametrize(
    ("settings", "bodies"),
    [
        (MetalSettings(error_body=ErrorBody.MIXED), ["error", "errors"]),
        (MetalSettings(error_body=ErrorBody.SINGLE), ["error", "error"]),
        (MetalSettings(error_body=ErrorBody.LIST), ["errors", "errors"]),
    ],
)
def test_both_error_bodies_are_sent(api: Api, order: Api, bodies: list[str]) -> None:
    """A refusal carries `error` or `errors`, as the settings say."""
    refusals = [api("GET", f"/devices/{OTHER}"), order(plan="z9")]
    assert [next(iter(refusal.json())) for refusal in refusals] == bodies


def test_answers_of_the_api_carry_a_request_id(api: Api) -> None:
    """Each answer, also a refusal, has an id of its own and says that it is JSON."""
    answers = [api("GET", "/plans"), api("GET", "/no/such/path"), api("GET", "/plans", token=None)]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json; charset=utf-8"}


def test_without_a_limit_nothing_is_said_about_it(api: Api) -> None:
    """No limit was ever published, so by default there is none and no header about it."""
    assert not [name for name in api("GET", "/plans").headers if name.startswith("X-RateLimit")]


@pytest.mark.parametrize("settings", [MetalSettings(requests_max=2)])
def test_limit_is_counted_and_enforced(api: Api, clock: VirtualClock) -> None:
    """The third request of a window is 429 and says when to come back; then the count begins anew."""
    first, second, third = (api("GET", "/plans") for _ in range(3))
    assert [answer.headers["X-RateLimit-Remaining"] for answer in (first, second, third)] == ["1", "0", "0"]
    assert first.headers["X-RateLimit-Limit"] == "2"
    assert int(first.headers["X-RateLimit-Reset"]) == clock.now().timestamp() + 60
    assert (third.status_code, third.headers["Retry-After"], list(third.json())) == (429, "60", ["errors"])
    clock.advance(timedelta(seconds=60))
    assert api("GET", "/plans").status_code == 200
