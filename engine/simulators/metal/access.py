"""Who may do what, and how often: keys, projects and the request limit."""

import math
from dataclasses import dataclass
from datetime import datetime

from engine.simulators.http import HttpRequest
from engine.simulators.metal.orders import BAD_TOKEN, NOT_FOUND, RefusalError
from engine.simulators.metal.settings import KeySettings, MetalSettings

WINDOWS_MAX = 10_000
"""Tokens whose requests are counted at one time; with more, the count begins anew."""

READ_ONLY = "You are not authorized to perform this action"
FOREIGN_PROJECT = "You are not authorized to view this project"


@dataclass(slots=True)
class _Window:
    ends_at: datetime
    requests: int = 0


class Access:
    """The doorkeeper of the API."""

    def __init__(self, settings: MetalSettings) -> None:
        self._settings = settings
        self._keys = {key.token: key for key in settings.keys}
        self._windows: dict[str, _Window] = {}

    def key(self, request: HttpRequest) -> KeySettings:
        """Answer the key of a request; without a good one it is refused with 401."""
        token = request.headers.get("x-auth-token", "")
        key = self._keys.get(token)
        if key is None and token and self._settings.any_token:
            key = KeySettings(token=token)
        if key is None:
            raise RefusalError(401, BAD_TOKEN)
        return key

    def check_write(self, key: KeySettings) -> None:
        """Refuse with 403 when the key may only read."""
        if key.read_only:
            raise RefusalError(403, READ_ONLY)

    def check_project(self, key: KeySettings, project: str, *, known: bool) -> None:
        """Refuse with 404 what does not exist and with 403 what the key does not open."""
        if not known:
            raise RefusalError(404, NOT_FOUND)
        if not opens(key, project):
            raise RefusalError(403, FOREIGN_PROJECT)

    def count(self, key: KeySettings, now: datetime) -> dict[str, str]:
        """Count a request and answer the headers about the limit; there are none without a limit."""
        limit = self._settings.requests_max
        if limit is None:
            return {}
        if len(self._windows) >= WINDOWS_MAX:
            self._windows.clear()
        window = self._windows.get(key.token)
        if window is None or window.ends_at <= now:
            window = self._windows[key.token] = _Window(now + self._settings.requests_window)
        window.requests += 1
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - window.requests)),
            "X-RateLimit-Reset": str(math.ceil(window.ends_at.timestamp())),
        }
        if window.requests > limit:
            headers["Retry-After"] = str(max(1, math.ceil((window.ends_at - now).total_seconds())))
        return headers


def opens(key: KeySettings, project: str) -> bool:
    """Answer whether the key opens the project; a user's key opens all."""
    return not key.projects or project in key.projects
