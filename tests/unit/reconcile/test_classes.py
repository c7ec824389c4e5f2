"""Which MachineClasses and Secrets carry our finalizer."""

from typing import Any

from engine.domain.wanted import (
    MACHINE_FINALIZER,
    SECRET_FINALIZER,
    ClassObject,
    MachineObject,
    SecretObject,
    SecretReference,
)
from engine.reconcile.classes import ClassProtection, SecretProtection, protections
from tests.unit.workflow.builders import NOON, machine
from tests.unit.workflow.builders import machine_class as built_class

REFERENCE = SecretReference(namespace="", name="key")


def machine_class(**different: Any) -> ClassObject:
    """A class that names the Secret."""
    return built_class(**{"secret": REFERENCE, "finalizers": ()} | different)


def secret(**different: Any) -> SecretObject:
    """The Secret."""
    plain: dict[str, Any] = {"uid": "s-1", "namespace": "shoot", "name": "key", "resource_version": "1"}
    return SecretObject(**plain | different)


def changes(
    *, machines: tuple[MachineObject, ...] = (), of: ClassObject | None = None, held: SecretObject | None = None
) -> list[ClassProtection | SecretProtection]:
    """What must change."""
    return protections(machines=machines, classes=[of] if of else [], secrets=[held] if held else [])


def test_what_is_needed_is_protected() -> None:
    """A class by its Machines, a Secret by the classes that name it in either field."""
    of, held = machine_class(), secret()
    expected = [ClassProtection(class_object=of, protected=True), SecretProtection(secret=held, protected=True)]
    assert changes(machines=(machine(),), of=of, held=held) == expected
    other = machine_class(secret=None, credentials_secret=REFERENCE)
    assert changes(of=other, held=held) == [SecretProtection(secret=held, protected=True)]


def test_what_is_protected_stays_as_it_is() -> None:
    """Nothing is written twice."""
    of, held = machine_class(finalizers=(MACHINE_FINALIZER,)), secret(finalizers=(SECRET_FINALIZER,))
    assert changes(machines=(machine(),), of=of, held=held) == []
    assert changes(of=machine_class(secret=None), held=secret()) == []


def test_what_nobody_needs_is_let_go() -> None:
    """Also while it is being deleted, which is when it matters."""
    of = machine_class(finalizers=(MACHINE_FINALIZER,), secret=None, deletion_requested_at=NOON)
    held = secret(finalizers=(SECRET_FINALIZER,), deletion_requested_at=NOON)
    expected = [ClassProtection(class_object=of, protected=False), SecretProtection(secret=held, protected=False)]
    assert changes(of=of, held=held) == expected


def test_what_is_leaving_takes_no_new_finalizer() -> None:
    """The API server would refuse it; one that it has already is kept."""
    of, held = machine_class(deletion_requested_at=NOON), secret(deletion_requested_at=NOON)
    assert changes(machines=(machine(),), of=of, held=held) == []
    kept = machine_class(deletion_requested_at=NOON, finalizers=(MACHINE_FINALIZER,))
    assert changes(machines=(machine(),), of=kept) == []


def test_a_machine_without_its_object_needs_its_class() -> None:
    """Until its device is proven gone, the account that returns it must stay known."""
    of = machine_class(finalizers=(MACHINE_FINALIZER,), secret=None, deletion_requested_at=NOON)
    assert protections(machines=[], classes=[of], secrets=[], lingering=[of.name]) == []
