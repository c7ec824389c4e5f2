"""Which providers there are, and what is measured of them."""

from datetime import timedelta
from importlib.metadata import EntryPoint

import pytest

from engine.clock import Clock
from engine.domain.ids import DeviceId
from engine.domain.outcome import Code
from engine.errors import ConfigurationError
from engine.ports.provider import DeviceNotFoundError, InvalidSpecError
from engine.providers.equinix.provider import EquinixMetal
from engine.providers.metered import MeteredProvider
from engine.providers.registry import ENTRY_POINT_GROUP, assemble
from engine.simulators.clock import VirtualClock
from engine.simulators.metal import API_KEY, PROJECT_ID, MetalSimulator, SimulatorAdapter
from engine.simulators.seed import Seed

SPEC = {
    "projectID": PROJECT_ID,
    "metro": "da",
    "machineType": "c3.small.x86",
    "billingCycle": "hourly",
    "OS": "ubuntu_22_04",
    "tags": ["kubernetes.io/cluster/a", "kubernetes.io/role/node"],
}
SECRET = {"apiToken": API_KEY.encode(), "userData": b"#cloud-config"}


class Notes:
    """A meter that keeps everything."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, float, Code | None]] = []

    def record(self, provider: str, operation: str, seconds: float, error_code: Code | None) -> None:
        """Keep one call."""
        self.taken.append((provider, operation, seconds, error_code))


def make(clock: Clock) -> EquinixMetal:
    """Make the built-in provider; entry points of these tests point here."""
    return EquinixMetal(clock=clock)


def announced(name: str, value: str = f"{__name__}:make") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP)


def test_provider_is_found_by_the_name_in_the_class() -> None:
    """The built-in provider is found under the name that the Go provider accepts."""
    registry = assemble({"EquinixMetal": make}, clock=VirtualClock())

    assert registry.names == ["EquinixMetal"]
    assert registry.provider("EquinixMetal").name == "EquinixMetal"


def test_unknown_provider_is_told_with_the_known_ones() -> None:
    """A class with another provider is refused with the names that there are."""
    registry = assemble({"EquinixMetal": make}, clock=VirtualClock(), announced=[])

    with pytest.raises(InvalidSpecError, match="provider 'AWS', which is unknown; write one of EquinixMetal"):
        registry.provider("AWS")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (announced("EquinixMetal"), "two packages provide EquinixMetal"),
        (announced("Other", "no_such_module:make"), "provider Other cannot be loaded from no_such_module:make"),
        (announced("Other", "engine.errors:no_such_name"), "provider Other cannot be loaded"),
    ],
)
def test_unusable_announcement_stops_the_start(entry: EntryPoint, words: str) -> None:
    """A package that announces a taken name or something that cannot be loaded is named."""
    with pytest.raises(ConfigurationError, match=words):
        assemble({"EquinixMetal": make}, clock=VirtualClock(), announced=[entry])


def test_provider_of_another_package_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An announced factory is called with the clock; the name must be the provider's own."""
    monkeypatch.setattr(EntryPoint, "load", lambda _: make)

    registry = assemble({}, clock=VirtualClock(), announced=[announced("EquinixMetal")])

    assert registry.names == ["EquinixMetal"]
    with pytest.raises(ConfigurationError, match="announced as Other calls itself EquinixMetal"):
        assemble({}, clock=VirtualClock(), announced=[announced("Other")])


def test_calls_are_counted_with_duration_and_code() -> None:
    """Each call is recorded once with its operation, its duration and the code of its error; pure questions are not."""
    clock, notes = VirtualClock(), Notes()
    simulator = MetalSimulator(clock=clock, seed=Seed(1))
    inner = EquinixMetal(clock=clock, transport=SimulatorAdapter(simulator.handle, clock=clock))
    provider = MeteredProvider(inner, meter=notes, clock=clock)
    cloud = provider.bind(spec=SPEC, secret=SECRET)

    assert list(cloud.inventory()) == []
    clock.advance(timedelta(seconds=1))
    with pytest.raises(DeviceNotFoundError):
        cloud.device(DeviceId("00000000-0000-4000-8000-000000000000"))
    assert provider.hostname_fault("worker-1") is None
    assert cloud.summary["metro"] == "da"

    assert notes.taken == [
        ("EquinixMetal", "inventory", 0.0, None),
        ("EquinixMetal", "device", 0.0, Code.NOT_FOUND),
    ]


def test_metered_provider_answers_like_the_one_inside() -> None:
    """Metering changes no answer."""
    registry = assemble({"EquinixMetal": make}, clock=VirtualClock(), meter=Notes(), announced=[])
    metered, plain = registry.provider("EquinixMetal"), make(VirtualClock())

    assert isinstance(metered, MeteredProvider)
    assert metered.warnings({"facility": "x"}) == plain.warnings({"facility": "x"})
    assert metered.device_id("nonsense") is None
    cloud, bare = metered.bind(spec=SPEC, secret=SECRET), plain.bind(spec=SPEC, secret=SECRET)
    assert (cloud.account, cloud.reservations, cloud.reserved_only, cloud.summary) == (
        bare.account,
        bare.reservations,
        bare.reserved_only,
        bare.summary,
    )
