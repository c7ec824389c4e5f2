"""Which MachineClasses and Secrets must carry our finalizer: those that somebody still needs."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.domain.wanted import MACHINE_FINALIZER, SECRET_FINALIZER, ClassObject, MachineObject, SecretObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProtection:
    """Put our finalizer on this class, or take it off."""

    class_object: ClassObject
    protected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretProtection:
    """Put our finalizer on this Secret, or take it off."""

    secret: SecretObject
    protected: bool


Protection = ClassProtection | SecretProtection


def protections(
    *,
    machines: Iterable[MachineObject],
    classes: Iterable[ClassObject],
    secrets: Iterable[SecretObject],
    lingering: Iterable[str] = (),
) -> list[Protection]:
    """Answer what must change: a class is needed by its Machines, a Secret by the classes that name it.

    `lingering` names the classes of machines that have lost their object and are not finished: they need the account.

    An object that is being deleted takes no new finalizer; one that is needed keeps the one that it has.
    """
    known = list(classes)
    used = {machine.class_name for machine in machines} | set(lingering)
    named = {reference.name for each in known for reference in (each.secret, each.credentials_secret) if reference}
    changes: list[Protection] = []
    for each in known:
        needed, has = each.name in used, MACHINE_FINALIZER in each.finalizers
        if needed != has and not (needed and each.deletion_requested_at):
            changes.append(ClassProtection(class_object=each, protected=needed))
    for secret in secrets:
        needed, has = secret.name in named, SECRET_FINALIZER in secret.finalizers
        if needed != has and not (needed and secret.deletion_requested_at):
            changes.append(SecretProtection(secret=secret, protected=needed))
    return changes
