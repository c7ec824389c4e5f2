"""The devices as JSON and back, so that a simulated world outlives its process."""

from dataclasses import replace
from typing import Any

import msgspec

from engine.errors import ConfigurationError
from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.devices import Device, Fleet

VERSION = 1


def dump(fleet: Fleet) -> dict[str, Any]:
    """Answer everything about the devices as plain JSON values."""
    # How they look can be made again, so it is left out.
    bare = [replace(device, rendered=None, lasting=None, viewed=None) for device in fleet.everything()]
    return {"version": VERSION, "created": fleet.created, "devices": [msgspec.to_builtins(device) for device in bare]}


def load(document: dict[str, Any], fleet: Fleet, catalog: Catalog) -> None:
    """Let the fleet be the one of the snapshot; what fell due meanwhile happens at the next look.

    Raises ConfigurationError when the snapshot does not fit these settings.
    """
    try:
        if document["version"] != VERSION:
            raise ConfigurationError(f"snapshot: version {document['version']} is not {VERSION}; start without it")
        devices = msgspec.convert(document["devices"], list[Device])
        created = int(document["created"])
    except (KeyError, TypeError, ValueError) as broken:
        raise ConfigurationError(f"snapshot: {broken}; start without it") from broken
    for device in devices:
        order = device.order
        known = order.plan in catalog.plans and order.metro in catalog.metros
        if (
            not known
            or order.operating_system not in catalog.operating_systems
            or order.project not in catalog.projects
        ):
            raise ConfigurationError(
                f"snapshot: device {device.id} is of a plan, metro, system or project that is not set"
            )
    fleet.restore(devices, created)
