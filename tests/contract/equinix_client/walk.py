"""Walks through the API with the published Python client, in an environment of its own: `walk.py URL KEY PROJECT`.

The client parses each answer strictly, so what it accepts here is of the published form. It must not import the engine.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import equinix_metal as client  # type: ignore[import-not-found]  # lives in the environment of this script only

STEP_SECONDS = 0.05
WAIT_SECONDS_MAX = 30.0
DEVICES = 23  # three pages of the default size


class Walk:
    """One walk; each method is a stretch of it."""

    def __init__(self, *, url: str, key: str, project: str) -> None:
        self._project = project
        self._url = url
        self._client = self._connect(key)
        self._devices = client.DevicesApi(self._client)

    def go(self) -> None:
        """Walk all the way, and stop at the first thing that is not as it should be."""
        self.read_catalogue()
        self.order_and_wait()
        self.page()
        self.be_refused()
        self.reserve()

    def read_catalogue(self) -> None:
        """Everything that can be looked up parses."""
        plans = client.PlansApi(self._client).find_plans().plans
        check("plans have prices", all(plan.pricing["hour"] > 0 for plan in plans))
        check("metros", "da" in {metro.code for metro in client.MetrosApi(self._client).find_metros().metros})
        check("a metro", client.MetrosApi(self._client).get_metro("da").name == "Dallas")
        check("facilities", client.FacilitiesApi(self._client).find_facilities().facilities[0].metro is not None)
        systems = client.OperatingSystemsApi(self._client).find_operating_systems().operating_systems
        check("operating systems", "ubuntu_22_04" in {system.slug for system in systems})
        projects = client.ProjectsApi(self._client)
        check("the project", projects.find_project_by_id(self._project).id == self._project)
        check("the projects", len(projects.find_projects().projects) == 1)
        check("SSH keys", len(client.SSHKeysApi(self._client).find_project_ssh_keys(self._project).ssh_keys) == 1)
        self.read_capacity()

    def read_capacity(self) -> None:
        """Capacity is told in levels, and checked in strings."""
        capacity = client.CapacityApi(self._client)
        check("capacity", capacity.find_capacity_for_metro().capacity["da"]["c3.small.x86"].level == "normal")
        server = client.ServerInfo(metro="da", plan="c3.small.x86", quantity="2")
        checked = capacity.check_capacity_for_metro(client.CapacityInput(servers=[server]))
        check("two servers are there", checked.servers[0].available is True)

    def order_and_wait(self) -> None:
        """A device is ordered, boots, is changed, restarted and taken back; every answer on the way parses."""
        device = self.order("walker", tags=["uid:walker"])
        check("a new device is queued", device.state == "queued")
        self.wait(device.id, "provisioning")
        check("a percentage", 0 <= self._devices.find_device_by_id(device.id).provisioning_percentage < 100)
        status, text = refusal(lambda: self._devices.delete_device(device.id))
        check("no delete while provisioning", status == 422 and "while it is provisioning" in text)
        self.wait(device.id, "active")
        active = self._devices.find_device_by_id(device.id, include=["project"])
        check("addresses", [address.address_family for address in active.ip_addresses] == [4, 6, 4])
        check("the project is included", active.project.name == "simulated")
        self.read_about(device.id)
        self.change(device.id)
        self._devices.delete_device(device.id, force_delete=True)
        check("deprovisioning", self._devices.find_device_by_id(device.id).state == "deprovisioning")
        wait_for(lambda: refusal(lambda: self._devices.find_device_by_id(device.id))[0] == 404)

    def read_about(self, device: str) -> None:
        """What hangs on a device parses."""
        check("userdata", self._devices.find_device_userdata_by_id(device).userdata == "#cloud-config\n")
        check("events", len(client.EventsApi(self._client).find_device_events(device).events) == 7)
        check("usages", client.UsagesApi(self._client).find_device_usages(device).usages[0].unit == "hour")
        check("ips", len(self._devices.find_ip_assignments(device).ip_addresses) == 3)

    def change(self, device: str) -> None:
        """Tags are replaced, a lock holds, and the power goes off and on."""
        changed = self._devices.update_device(device, client.DeviceUpdateInput(tags=["b"], locked=True))
        check("changed", changed.tags == ["b"] and changed.locked is True)
        check("locked", refusal(lambda: self._devices.delete_device(device))[0] == 422)
        self._devices.update_device(device, client.DeviceUpdateInput(locked=False))
        for action, state in (("power_off", "inactive"), ("power_on", "active"), ("reinstall", "active")):
            self._devices.perform_action(device, client.DeviceActionInput(type=action))
            self.wait(device, state)

    def page(self) -> None:
        """A list longer than a page is seen whole through the pages, and in part without them."""
        names = {f"paged-{number}" for number in range(DEVICES)}
        for name in sorted(names):
            self.order(name, tags=["paged"])
        first = self._devices.find_project_devices(self._project)
        check("ten to a page", len(first.devices) == 10 and first.meta.total == DEVICES)
        for per_page in (None, 7, 100):
            everything = self._devices.find_project_devices_all_pages(self._project, per_page=per_page)
            check(f"all pages by {per_page}", {device.hostname for device in everything.devices} == names)
        filtered = self._devices.find_project_devices(self._project, hostname="paged-1", type="ondemand", metro="da")
        check("filtered", filtered.meta.total == len([name for name in names if "paged-1" in name]))
        check("no such tag", self._devices.find_project_devices(self._project, tag="nobody").devices == [])
        wait_for(lambda: all(device.state == "active" for device in self.listed("paged")))
        for device in self.listed("paged"):
            self._devices.delete_device(device.id)

    def be_refused(self) -> None:
        """The client turns refusals into its own errors, with the known words."""
        check(
            "unknown plan",
            refusal(lambda: self.order("x", plan="z9")) == (422, '{"errors":["z9 is not a valid plan"]}'),
        )
        check("long tag", "Tags must be 1-80 characters" in refusal(lambda: self.order("x", tags=["t" * 81]))[1])
        check("sold out", "There aren't available servers" in refusal(lambda: self.order("x", metro="ty"))[1])
        unknown = "00000000-0000-4000-8000-000000000000"
        check("not found", refusal(lambda: self._devices.find_device_by_id(unknown))[0] == 404)
        stranger = client.DevicesApi(self._connect("wrong"))
        check("wrong key", refusal(lambda: stranger.find_project_devices(self._project))[0] == 401)

    def reserve(self) -> None:
        """A reserved server is ordered, and the shortage after it is a 503."""
        reservations = client.HardwareReservationsApi(self._client)
        reservation = reservations.find_project_hardware_reservations(self._project).hardware_reservations[0]
        check("provisionable", reservation.provisionable is True and reservation.plan.slug == "c3.small.x86")
        device = self.order("reserved", hardware_reservation_id="next-available")
        check("reserved", device.hardware_reservation.href.endswith(reservation.id))
        check("taken", reservations.find_hardware_reservation_by_id(reservation.id).provisionable is False)
        status, text = refusal(lambda: self.order("x", hardware_reservation_id="next-available"))
        check("no reservation left", status == 503 and "no available hardware reservations" in text)
        by_id, text = refusal(lambda: self.order("x", hardware_reservation_id=reservation.id))
        check("not provisionable", by_id == 422 and "Server is not provisionable" in text)
        self.wait(device.id, "active")

    def order(self, hostname: str, **fields: Any) -> Any:
        """Answer a newly ordered device."""
        wanted = {"plan": "c3.small.x86", "metro": "da", "operating_system": "ubuntu_22_04", **fields}
        body = client.DeviceCreateInMetroInput(hostname=hostname, userdata="#cloud-config\n", **wanted)
        return self._devices.create_device(self._project, client.CreateDeviceRequest(body))

    def listed(self, tag: str) -> list[Any]:
        """Answer the devices with a tag."""
        return list(self._devices.find_project_devices(self._project, tag=tag, per_page=100).devices)

    def wait(self, device: str, state: str) -> None:
        """Return when the device is in the state."""
        wait_for(lambda: self._devices.find_device_by_id(device).state == state)

    def _connect(self, key: str) -> Any:
        configuration = client.Configuration(host=f"{self._url}/metal/v1", api_key={"x_auth_token": key})
        return client.ApiClient(configuration)


def check(what: str, found: bool) -> None:  # noqa: FBT001 - the fact itself is the argument
    """Say what was found right; stop the walk where something is wrong."""
    if not found:
        sys.exit(f"not as it should be: {what}")
    print(f"as it should be: {what}")


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """Answer the status and the body with which a call is refused."""
    try:
        call()
    except client.ApiException as refused:
        return refused.status, refused.body
    return 0, ""


def wait_for(fact: Callable[[], bool]) -> None:
    """Return when the fact is true; stop the walk when that takes too long."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not fact():
        if time.monotonic() > until:
            sys.exit("waited in vain")
        time.sleep(STEP_SECONDS)


if __name__ == "__main__":
    Walk(url=sys.argv[1], key=sys.argv[2], project=sys.argv[3]).go()
