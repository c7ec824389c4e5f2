"""The verbs on resources: from a request with a target to an answer."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from engine.clock import Clock
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.kube.causes import Cause
from engine.simulators.kube.cluster import Cluster
from engine.simulators.kube.errors import StatusError, bad_request, conflict, invalid_option, unsupported_media_type
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.lists import one, page, selection
from engine.simulators.kube.negotiation import Wish, answer, body_of, document, media_type, wish
from engine.simulators.kube.patches import MERGE_KEYS, apply_operations, merge, strategic
from engine.simulators.kube.removals import DeleteOptions, Propagation
from engine.simulators.kube.reviews import reviewed
from engine.simulators.kube.scale import rescaled, scale_of
from engine.simulators.kube.views import View
from engine.simulators.kube.watches import Watches, WatchPlan
from engine.simulators.kube.writes import Part, Target, UnknownFields, WriteOptions
from engine.simulators.seed import Seed

# The real server ends a watch without a time limit after some random time in this range, in minutes.
WATCH_MINUTES = (30, 60)
APPLY_TYPE = "application/apply-patch+yaml"
_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", APPLY_TYPE)
_STRATEGIC_TYPE = "application/strategic-merge-patch+json"


class Resources:
    """What may be asked of the objects of a cluster over HTTP."""

    def __init__(self, cluster: Cluster, watches: Watches, clock: Clock, seed: Seed) -> None:
        self._cluster = cluster
        self._watches = watches
        self._clock = clock
        self._seed = seed

    def get(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Answer one object."""
        stored = self._cluster.read(target)
        wanted = wish(request)
        return answer(200, self._view(target.kind, request, wanted).one(stored), wanted)

    def list(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Answer a list, or a watch."""
        wanted = wish(request)
        view = self._view(target.kind, request, wanted)
        if one(request.query, "watch").lower() in {"true", "1"}:
            plan = self._plan(target, request)
            stream = self._watches.stream(plan, view)
            return HttpResponse(status=200, headers={"Content-Type": "application/json"}, body=stream)
        found = page(self._cluster.store, target.kind, target.namespace, request.query)
        return answer(200, view.listed(found.items, found.meta), wanted)

    def create(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Keep a new object."""
        wanted, options = wish(request), _write_options(request)
        stored = self._cluster.create(target, body_of(request), options)
        return self._written(target.kind, request, wanted, (201, stored, options))

    def replace(self, target: Target, request: HttpRequest, part: Part = Part.MAIN) -> HttpResponse:
        """Put the body in the place of the object."""
        wanted, options = wish(request), _write_options(request, part)
        body = body_of(request)

        def change(current: Json) -> Json:
            _check_replacement(target, current, body)
            replacement: Json = body
            return replacement

        stored = self._cluster.update(target, change, options)
        return self._written(target.kind, request, wanted, (200, stored, options))

    def patch(self, target: Target, request: HttpRequest, part: Part = Part.MAIN) -> HttpResponse:
        """Change part of the object; an apply creates it when it is not there."""
        wanted, options = wish(request), _write_options(request, part)
        if media_type(request) != APPLY_TYPE:
            stored = self._cluster.update(target, _patching(target.kind, request), options)
            return self._written(target.kind, request, wanted, (200, stored, options))
        _require_field_owner(request)
        body = body_of(request)
        if not isinstance(body, dict):
            raise bad_request("error decoding YAML: the body must be an object")
        body.setdefault("metadata", {}).setdefault("name", target.name)
        with self._cluster.store.lock:
            exists = self._cluster.store.get(target.key) is not None
            if exists or part is Part.STATUS:
                stored = self._cluster.update(target, _patching(target.kind, request), options)
            else:
                stored = self._cluster.create(target, body, options)
        return self._written(target.kind, request, wanted, (200 if exists else 201, stored, options))

    def delete(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Remove the object, or mark it."""
        wanted, options = wish(request), delete_options(request)
        removal = self._cluster.delete(target, options)
        if not removal.marked and not target.kind.answers_deleted:
            return document(_deleted(target, removal.stored.uid), wanted=wanted)
        return answer(200, self._view(target.kind, request, wanted).one(removal.stored), wanted)

    def delete_collection(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Remove or mark all objects that are selected."""
        wanted, selected = wish(request), selection(target.kind, request.query)
        with self._cluster.store.lock:
            items = self._cluster.store.listed(target.kind.shelf, target.namespace)
            targets = [
                Target(kind=target.kind, namespace=stored.key[1], name=stored.key[2])
                for stored in items
                if selected(stored.value)
            ]
            found = self._cluster.delete_all(targets, delete_options(request))
        meta = {"resourceVersion": str(self._cluster.store.revision)}
        return answer(200, self._view(target.kind, request, wanted).listed(found, meta), wanted)

    def read_scale(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Answer the object's Scale."""
        return document(scale_of(target.kind, self._cluster.read(target)), wanted=wish(request))

    def write_scale(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Change the number of replicas."""
        if request.method == "PATCH":
            transform = _patching(target.kind, request)
        else:
            body = body_of(request)

            def transform(_: Json) -> Json:
                replacement: Json = body
                return replacement

        def change(current: Json) -> Json:
            stored = self._cluster.store.preview(target.key, target.kind.kept(current))
            return rescaled(target.kind, current, transform(scale_of(target.kind, stored)))

        stored = self._cluster.update(target, change, _write_options(request))
        return document(scale_of(target.kind, stored), wanted=wish(request))

    def review(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Answer a question about permissions."""
        return document(reviewed(target.kind, body_of(request)), 201, wish(request))

    def evict(self, target: Target, request: HttpRequest) -> HttpResponse:
        """Delete a pod if its disruption budget allows it."""
        body = body_of(request)
        options = (body or {}).get("deleteOptions") if isinstance(body, dict) else None
        self._cluster.evict(target, _read_options(options or {}, request))
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return document(status, 201, wish(request))

    def _view(self, kind: Kind, request: HttpRequest, wanted: Wish) -> View:
        include = one(request.query, "includeObject") or "Metadata"
        return View(kind, wanted.shape, self._clock.now(), include)

    def _written(
        self, kind: Kind, request: HttpRequest, wanted: Wish, written: tuple[int, Any, WriteOptions]
    ) -> HttpResponse:
        status, stored, options = written
        texts = (text.replace('"', '\\"') for text in options.warnings)
        headers = {"Warning": ", ".join(f'299 - "{text}"' for text in texts)} if options.warnings else {}
        return answer(status, self._view(kind, request, wanted).one(stored), wanted, headers)

    def _plan(self, target: Target, request: HttpRequest) -> WatchPlan:
        query = request.query
        revision, seconds = one(query, "resourceVersion"), one(query, "timeoutSeconds")
        if not all(text == "" or text.isdigit() for text in (revision, seconds)):
            raise bad_request(f'invalid resource version "{revision}" or time limit "{seconds}"')
        initial = one(query, "sendInitialEvents").lower() == "true"
        lasts = timedelta(seconds=int(seconds)) if seconds else timedelta(minutes=self._seed.between(*WATCH_MINUTES))
        return WatchPlan(
            kind=target.kind,
            namespace=target.namespace,
            name=target.name,
            selected=selection(target.kind, query),
            revision=None if initial or revision in {"", "0"} else int(revision),
            bookmarks=one(query, "allowWatchBookmarks").lower() in {"true", "1"},
            initial_bookmark=initial,
            lasts=lasts,
        )


def delete_options(request: HttpRequest) -> DeleteOptions:
    """Answer how a deletion is meant, from body and query."""
    body = body_of(request) if request.body else {}
    return _read_options(body if isinstance(body, dict) else {}, request)


def _read_options(body: Json, request: HttpRequest) -> DeleteOptions:
    query, preconditions = request.query, body.get("preconditions") or {}
    policy = body.get("propagationPolicy") or one(query, "propagationPolicy")
    if not policy and (body.get("orphanDependents") or one(query, "orphanDependents") == "true"):
        policy = Propagation.ORPHAN.value
    if policy and policy not in {known.value for known in Propagation}:
        choices = '"Foreground", "Background", "Orphan", "nil"'
        raise _unsupported("DeleteOptions", "propagationPolicy", f'"{policy}"', choices)
    grace = body.get("gracePeriodSeconds")
    if grace is None and one(query, "gracePeriodSeconds").isdigit():
        grace = int(one(query, "gracePeriodSeconds"))
    return DeleteOptions(
        propagation=Propagation(policy) if policy else None,
        grace_seconds=grace,
        uid=preconditions.get("uid"),
        revision=preconditions.get("resourceVersion"),
        dry_run="All" in (*(body.get("dryRun") or ()), one(query, "dryRun")),
    )


def _write_options(request: HttpRequest, part: Part = Part.MAIN) -> WriteOptions:
    unknown, dry_run = one(request.query, "fieldValidation") or "Warn", one(request.query, "dryRun")
    if unknown not in {known.value for known in UnknownFields}:
        choices = '"", "Ignore", "Strict", "Warn"'
        raise _unsupported(_options_name(request), "fieldValidation", f'"{unknown}"', choices)
    if dry_run not in {"", "All"}:
        raise _unsupported(_options_name(request), "dryRun", f'["{dry_run}"]', '"All"')
    return WriteOptions(dry_run=dry_run == "All", unknown_fields=UnknownFields(unknown), part=part)


def _options_name(request: HttpRequest) -> str:
    return {"POST": "CreateOptions", "PUT": "UpdateOptions"}.get(request.method, "PatchOptions")


def _unsupported(options: str, field: str, value: str, choices: str) -> StatusError:
    return invalid_option(options, Cause(field=field, text=f"Unsupported value: {value}: supported values: {choices}"))


def _check_replacement(target: Target, current: Json, body: Any) -> None:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        raise bad_request("the body must be an object with metadata")
    uid, own = metadata.get("uid"), current["metadata"]["uid"]
    if uid and uid != own:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
        raise conflict(target.kind, target.name, why)


def _require_field_owner(request: HttpRequest) -> None:
    if not one(request.query, "fieldManager"):
        cause = Cause(field="fieldManager", text="Required value: is required for apply patch")
        raise invalid_option("PatchOptions", cause)


def _patching(kind: Kind, request: HttpRequest) -> Callable[[Json], Json]:
    """Answer the change that the request's body describes in the request's language."""
    media = media_type(request)
    key_of = kind.structure.merge_key if kind.structure else MERGE_KEYS.get
    languages: dict[str, Callable[[Any, Any], Any]] = {
        "application/json-patch+json": apply_operations,
        "application/merge-patch+json": merge,
        APPLY_TYPE: lambda current, patch: strategic(current, patch, key_of),
    }
    if not kind.custom:
        languages[_STRATEGIC_TYPE] = strategic
    language = languages.get(media)
    if language is None:
        accepted = _PATCH_TYPES if kind.custom else (*_PATCH_TYPES, _STRATEGIC_TYPE)
        raise unsupported_media_type(", ".join(accepted))
    body = body_of(request)
    if media != "application/json-patch+json" and not isinstance(body, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    return lambda current: language(current, body)


def _deleted(target: Target, uid: str) -> Json:
    details = {"name": target.name, "group": target.kind.group, "kind": target.kind.plural, "uid": uid}
    told = {name: value for name, value in details.items() if value}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": told}
