"""The server's paths: which path means what, and who may ask."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.kube.discovery import (
    core_versions,
    group_document,
    group_list,
    resource_list,
    version_document,
)
from engine.simulators.kube.errors import StatusError, method_not_allowed, no_such_path, not_acceptable, unauthorized
from engine.simulators.kube.kinds import Json, Kind, Registry
from engine.simulators.kube.negotiation import Wish, answer, document, refusal
from engine.simulators.kube.openapi import OpenApi
from engine.simulators.kube.resources import Resources
from engine.simulators.kube.writes import Part, Target

_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})  # asked before anybody has a token

_ROOTS = ("/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version")
_FIXED: Mapping[str, Callable[[], Json]] = {
    "/": lambda: {"paths": list(_ROOTS)},
    "/version": version_document,
    "/api": core_versions,
}

Verb = Callable[[Target, HttpRequest], HttpResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a path of the resources means."""

    kind: Kind
    namespace: str
    name: str = ""
    part: str = ""


class Api:
    """All paths of the server."""

    def __init__(self, registry: Registry, resources: Resources, token: str | None) -> None:
        self._registry = registry
        self._resources = resources
        self._openapi = OpenApi(registry)
        self._token = token

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; a refusal is an answer too."""
        try:
            self._check_token(request)
            return self._answer(request)
        except StatusError as error:
            return refusal(error)

    def _check_token(self, request: HttpRequest) -> None:
        if self._token is None or request.path.rstrip("/") in _OPEN_PATHS:
            return
        given = request.headers.get("authorization", "").partition("Bearer ")[2]
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise unauthorized()

    def _answer(self, request: HttpRequest) -> HttpResponse:
        path = request.path.rstrip("/") or "/"
        parts = [unquote(part) for part in path.split("/")[1:]]
        if path in {"/healthz", "/livez", "/readyz"}:
            return HttpResponse(status=200, headers={"Content-Type": "text/plain"}, body=b"ok")
        if path.startswith("/openapi/"):
            return self._schemas(path, parts, request)
        found = self._discovered(path, parts)
        if found is not None:
            return document(found)
        route = self._routed(parts)
        verb = self._verb(route, "GET" if request.method == "HEAD" else request.method)
        return verb(Target(kind=route.kind, namespace=route.namespace, name=route.name), request)

    def _discovered(self, path: str, parts: list[str]) -> Json | None:
        """Answer the document of a path above the resources, or None for a resource's own path."""
        if not path.startswith(("/api/", "/apis/")):
            found = _FIXED.get(path)
            return _found(group_list(self._registry) if path == "/apis" else found() if found else None)
        match parts:
            case ["api", version]:
                return _found(resource_list(self._registry, "", version))
            case ["apis", group]:
                return _found(group_document(self._registry, group))
            case ["apis", group, version]:
                return _found(resource_list(self._registry, group, version))
            case _:
                return None

    def _schemas(self, path: str, parts: list[str], request: HttpRequest) -> HttpResponse:
        if path == "/openapi/v2":
            if request.headers.get("accept", "").startswith("application/com.github"):
                raise not_acceptable("application/json")
            return answer(200, self._openapi.swagger(), Wish())
        if path == "/openapi/v3":
            return answer(200, self._openapi.index(), Wish())
        match parts:
            case ["openapi", "v3", "api", version]:
                group = ""
            case ["openapi", "v3", "apis", group, version]:
                pass
            case _:
                raise no_such_path()
        found = self._openapi.group_version(group, version)
        if found is None:
            raise no_such_path()
        return answer(200, found, Wish())

    def _routed(self, parts: list[str]) -> Route:
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            kind = self._registry.find(group, version, rest[2])
            if kind and kind.namespaced:
                namespace, rest = rest[1], rest[2:]
        kind = self._registry.find(group, version, rest[0])
        if kind is None or len(rest) > 3:
            raise no_such_path()
        if kind.namespaced and not namespace and len(rest) > 1:
            raise no_such_path()
        name, part = (*rest[1:], "", "")[:2]
        return Route(kind=kind, namespace=namespace, name=name, part=part)

    def _verb(self, route: Route, method: str) -> Verb:
        table = self._verbs_of(route)
        verb = table.get(method)
        homeless = route.kind.namespaced and not route.namespace and method != "GET"
        if verb is None or homeless:
            raise method_not_allowed()
        return verb

    def _verbs_of(self, route: Route) -> dict[str, Verb]:
        does, kind = self._resources, route.kind
        if kind.kept_nowhere:
            return {"POST": does.review}
        match route.part:
            case "" if route.name:
                return {"GET": self._get, "PUT": does.replace, "PATCH": does.patch, "DELETE": does.delete}
            case "":
                return {"GET": does.list, "POST": does.create, "DELETE": does.delete_collection}
            case "status" if kind.has_status:
                return {
                    "GET": does.get,
                    "PUT": lambda target, request: does.replace(target, request, Part.STATUS),
                    "PATCH": lambda target, request: does.patch(target, request, Part.STATUS),
                }
            case "scale" if kind.scale:
                return {"GET": does.read_scale, "PUT": does.write_scale, "PATCH": does.write_scale}
            case "eviction" if "eviction" in kind.actions:
                return {"POST": does.evict}
            case _:
                raise no_such_path()

    def _get(self, target: Target, request: HttpRequest) -> HttpResponse:
        if "watch" in request.query:
            return self._resources.list(target, request)
        return self._resources.get(target, request)


def _found(document_found: Json | None) -> Json:
    if document_found is None:
        raise no_such_path()
    return document_found
