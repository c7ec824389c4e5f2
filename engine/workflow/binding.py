"""From a MachineClass and its Secrets to an account at a cloud; done once for each version of the three."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.domain.outcome import Code, Problem, problem
from engine.domain.wanted import ClassObject, MachineObject, SecretObject, SecretReference
from engine.ports.cluster import Cluster
from engine.ports.provider import Cloud, InvalidSpecError, Provider

USERDATA_KEY = "userData"
MACHINE_CLASS_KIND = "MachineClass"
MACHINE_NAME_PLACEHOLDER = "<<MACHINE_NAME>>"
MACHINE_NAME_PLACEHOLDER_ESCAPED = "%3C%3CMACHINE_NAME%3E%3E"
BINDINGS_MAX = 512  # versions of classes and secrets that are kept; more than any real namespace has at once

_Versions = tuple[str, ...]
"""The uid and version of a class and of each of its Secrets: everything that a binding is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a Machine's class and secrets come to: an account, or the reason why there is none."""

    inputs: str
    """A fingerprint of everything this was made of; it changes when the class or a secret does."""
    provider: Provider | None = None
    cloud: Cloud | None = None
    """The account to buy from; None when the class or a secret is at fault."""
    returning: Cloud | None = None
    """The account to return devices to; there also when the class is too broken to buy with."""
    fault: Problem | None = None
    class_object: ClassObject | None = None
    secret_name: str = ""
    userdata: str = field(default="", repr=False)

    def userdata_for(self, name: str) -> str:
        """Answer the userdata of the Machine with this name; the contract's placeholder is filled in."""
        if MACHINE_NAME_PLACEHOLDER in self.userdata:
            return self.userdata.replace(MACHINE_NAME_PLACEHOLDER, name)
        return self.userdata.replace(MACHINE_NAME_PLACEHOLDER_ESCAPED, name)


class Bindings:
    """Resolves and remembers bindings."""

    def __init__(self, cluster: Cluster, providers: Mapping[str, Provider]) -> None:
        self._cluster = cluster
        self._providers = providers
        self._lock = threading.Lock()
        self._made: dict[_Versions, Binding] = {}

    def of(self, machine: MachineObject) -> Binding:
        """Answer the binding of this Machine as its class and secrets are now."""
        fault = _reference_fault(machine)
        if fault:
            return Binding(inputs=f"{machine.class_kind}/{machine.class_name}", fault=fault)
        return self.of_class(machine.class_name)

    def of_class(self, name: str) -> Binding:
        """Answer the binding of the class with this name as it and its secrets are now."""
        found = self._cluster.machine_class(name)
        if found is None:
            return Binding(inputs=f"no class {name}", fault=_missing_class(name))
        named = [reference for reference in (found.secret, found.credentials_secret) if reference]
        secrets = [(reference, self._cluster.secret(reference)) for reference in named]
        versions = _versions(found, [secret for _, secret in secrets])
        with self._lock:
            made = self._made.get(versions)
        if made is None:
            made = self._bind(found, secrets, _fingerprint(versions))
            self._remember(versions, made)
        return made

    def _bind(
        self, found: ClassObject, secrets: list[tuple[SecretReference, SecretObject | None]], inputs: str
    ) -> Binding:
        name = ", ".join(reference.name for reference, _ in secrets)
        provider = self._providers.get(found.provider)
        fault = _secrets_fault(found, secrets) or _provider_fault(found, self._providers)
        if fault or provider is None:
            return Binding(inputs=inputs, provider=provider, fault=fault, class_object=found, secret_name=name)
        merged: dict[str, bytes] = {}
        for _, secret in secrets:
            merged.update(secret.data if secret else {})
        try:
            cloud = provider.bind(spec=found.provider_spec, secret=merged)
        except InvalidSpecError as wrong:
            fault = problem(wrong.code, _spec_message(found, name, wrong))
            returning = _returning(provider, found, merged)
            return Binding(
                inputs=inputs,
                provider=provider,
                returning=returning,
                fault=fault,
                class_object=found,
                secret_name=name,
            )
        return Binding(
            inputs=inputs,
            provider=provider,
            cloud=cloud,
            returning=cloud,
            class_object=found,
            secret_name=name,
            userdata=merged.get(USERDATA_KEY, b"").decode("utf-8", errors="replace"),
        )

    def _remember(self, versions: _Versions, made: Binding) -> None:
        with self._lock:
            while len(self._made) >= BINDINGS_MAX:
                self._made.pop(next(iter(self._made)))
            self._made[versions] = made


def _returning(provider: Provider, found: ClassObject, merged: Mapping[str, bytes]) -> Cloud | None:
    try:
        return provider.bind_for_release(spec=found.provider_spec, secret=merged)
    except InvalidSpecError:
        return None


def _reference_fault(machine: MachineObject) -> Problem | None:
    if machine.class_kind == MACHINE_CLASS_KIND and machine.class_name:
        return None
    if not machine.class_name:
        return problem(Code.INVALID_ARGUMENT, f"machine {machine.name}: spec.class.name is empty; name a MachineClass")
    return problem(
        Code.INVALID_ARGUMENT,
        f"machine {machine.name}: spec.class.kind is {machine.class_kind!r}; write {MACHINE_CLASS_KIND}",
    )


def _missing_class(name: str) -> Problem:
    return problem(
        Code.NOT_FOUND,
        f"MachineClass {name} does not exist; create it, or correct spec.class.name of the machine",
    )


def _secrets_fault(found: ClassObject, secrets: list[tuple[SecretReference, SecretObject | None]]) -> Problem | None:
    if not secrets:
        text = f"MachineClass {found.name}: secretRef is missing; name the Secret with apiToken and userData"
        return problem(Code.INVALID_ARGUMENT, text)
    missing = [reference for reference, secret in secrets if secret is None]
    if not missing:
        return None
    named = ", ".join(f"{reference.namespace or found.namespace}/{reference.name}" for reference in missing)
    text = (
        f"MachineClass {found.name}: Secret {named} does not exist; create it with the keys apiToken and userData "
        f"in namespace {found.namespace}"
    )
    return problem(Code.NOT_FOUND, text)


def _provider_fault(found: ClassObject, providers: Mapping[str, Provider]) -> Problem | None:
    if found.provider in providers:
        return None
    known = ", ".join(sorted(providers))
    return problem(
        Code.INVALID_ARGUMENT, f"MachineClass {found.name}: provider is {found.provider!r}; write one of: {known}"
    )


def _spec_message(found: ClassObject, secret_name: str, wrong: InvalidSpecError) -> str:
    return f"MachineClass {found.name} with Secret {secret_name}: {wrong}"


def _versions(found: ClassObject, secrets: list[SecretObject | None]) -> _Versions:
    kept = [f"{secret.uid}:{secret.resource_version}" if secret else "none" for secret in secrets]
    return (found.uid, found.name, found.resource_version, *kept)


def _fingerprint(versions: _Versions) -> str:
    return hashlib.blake2b("/".join(versions).encode(), digest_size=12).hexdigest()
