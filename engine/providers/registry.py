"""Which providers there are, by the name that a MachineClass writes: the built-in one, and those of other packages.

Another package announces its provider in the entry point group `machine_engine.providers`: the entry's name is the
provider's, and it points to a `Factory`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from engine.clock import Clock
from engine.errors import ConfigurationError
from engine.ports.provider import InvalidSpecError, Provider
from engine.providers.metered import Meter, MeteredProvider

ENTRY_POINT_GROUP = "machine_engine.providers"

Factory = Callable[[Clock], Provider]
"""Makes a provider; it reads settings of its own, for instance from the environment."""


class Registry:
    """The providers by name."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = {provider.name: provider for provider in providers}

    @property
    def names(self) -> list[str]:
        """The known names, sorted."""
        return sorted(self._providers)

    def provider(self, name: str) -> Provider:
        """Answer the provider of this name; raises InvalidSpecError, which lists the known ones, when there is none."""
        found = self._providers.get(name)
        if found is None:
            known = ", ".join(self.names)
            raise InvalidSpecError(
                [f"the MachineClass has provider {name[:64]!r}, which is unknown; write one of {known}"]
            )
        return found


def assemble(
    built_in: Mapping[str, Factory],
    *,
    clock: Clock,
    meter: Meter | None = None,
    announced: Iterable[EntryPoint] | None = None,
) -> Registry:
    """Answer the built-in providers and those that installed packages announce, metered if there is a meter.

    Raises ConfigurationError when a package announces one that cannot be made, or that takes a name already taken.
    """
    factories = dict(built_in)
    for entry in entry_points(group=ENTRY_POINT_GROUP) if announced is None else announced:
        if entry.name in factories:
            raise ConfigurationError(
                f"two packages provide {entry.name}; uninstall the one that announces {entry.value}"
            )
        factories[entry.name] = _load(entry)
    providers = [_make(name, factory, clock) for name, factory in factories.items()]
    if meter is None:
        return Registry(providers)
    return Registry([MeteredProvider(provider, meter=meter, clock=clock) for provider in providers])


def _load(entry: EntryPoint) -> Factory:
    try:
        factory: Factory = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"provider {entry.name} cannot be loaded from {entry.value}: {error}") from error
    return factory


def _make(name: str, factory: Factory, clock: Clock) -> Provider:
    provider = factory(clock)
    if provider.name != name:
        raise ConfigurationError(f"the provider announced as {name} calls itself {provider.name}; the two must agree")
    return provider
