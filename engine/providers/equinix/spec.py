"""What a MachineClass says to Equinix Metal: read and checked in one pass, so that everything wrong is told at once.

It takes what the Go provider takes, spelling included: keys are matched without regard to case, unknown ones are
accepted with a word. It does no I/O.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

UID_TAG_PREFIX = "machine.sapcloud.io/uid="
"""Begins the tag by which a device names its Machine; the Machine's UID follows."""
CLUSTER_TAG_PART = "kubernetes.io/cluster/"
ROLE_TAG_PART = "kubernetes.io/role/"

TAG_CHARACTERS_MAX = 80  # the API refuses longer ones: "Tags must be 1-80 characters"
HOSTNAME_CHARACTERS_MAX = 63  # one label of a domain name
BILLING_CYCLES = ("hourly", "daily", "monthly", "yearly")
CUSTOM_IPXE = "custom_ipxe"
TOKEN_KEYS = ("apiToken", "alternateApiToken")
USERDATA_KEY = "userData"
SHOWN_CHARACTERS_MAX = 100  # a wrong value is quoted in a message, up to here

_USED_KEYS = (
    "apiVersion",
    "metro",
    "machineType",
    "billingCycle",
    "OS",
    "ipxeScriptUrl",
    "projectID",
    "tags",
    "sshKeys",
    "reservationIDs",
    "reservedDevicesOnly",
)
_IDLE_KEYS = {
    "facilities": "facilities are deprecated and ignored: the metro decides where the device stands; remove it",
    "facility": "facility is deprecated and ignored: the metro decides where the device stands; remove it",
    "userdata": "userdata in the class is ignored: the user data come from the secret's key userData; remove it",
    "metadata": "metadata is ignored; remove it",
}
_NAMES = {name.lower(): name for name in (*_USED_KEYS, *_IDLE_KEYS)}
_HOSTNAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalSpec:
    """What to buy, and how."""

    project_id: str
    metro: str
    plan: str
    billing_cycle: str
    operating_system: str
    ipxe_script_url: str | None = None
    tags: tuple[str, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    reservation_ids: tuple[str, ...] = ()
    reserved_only: bool = False

    @property
    def cluster_tags(self) -> frozenset[str]:
        """The tags that say to which cluster a device belongs."""
        return frozenset(tag for tag in self.tags if CLUSTER_TAG_PART in tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The key to the account, and what else its Secret holds that must never be repeated."""

    token: str = field(repr=False)
    userdata: str = field(repr=False, default="")

    @property
    def secrets(self) -> tuple[str, str]:
        """What no message may repeat."""
        return (self.token, self.userdata)


def read_spec(raw: Mapping[str, Any] | None) -> tuple[MetalSpec | None, list[str]]:
    """Answer the spec, or None and everything that is wrong with it in words."""
    if not isinstance(raw, Mapping):
        return None, ["the MachineClass has no providerSpec; write one with projectID, metro, machineType, OS and tags"]
    reader = _Reader(raw)
    script = reader.url("ipxeScriptUrl")
    spec = MetalSpec(
        project_id=reader.uuid("projectID", "the id of the project in which devices are bought"),
        metro=reader.required("metro", "the code of a metro, such as da"),
        plan=reader.required("machineType", "the slug of a plan, such as c3.small.x86"),
        billing_cycle=reader.billing_cycle(),
        operating_system=reader.operating_system(script),
        ipxe_script_url=script,
        tags=reader.tags(),
        ssh_keys=reader.uuids("sshKeys"),
        reservation_ids=reader.uuids("reservationIDs"),
        reserved_only=reader.reserved_only(),
    )
    return (None, reader.problems) if reader.problems else (spec, [])


def read_account(raw: Mapping[str, Any] | None) -> tuple[MetalSpec | None, list[str]]:
    """Answer as much of a spec as tells the account and its devices, or None and what is wrong with that."""
    if not isinstance(raw, Mapping):
        return None, ["the MachineClass has no providerSpec; write one with projectID"]
    reader = _Reader(raw)
    project_id = reader.uuid("projectID", "the id of the project in which devices are bought")
    if reader.problems:
        return None, reader.problems
    spec = MetalSpec(
        project_id=project_id, metro="", plan="", billing_cycle="", operating_system="", tags=reader.tags()
    )
    return spec, []


def read_secret(secret: Mapping[str, bytes]) -> tuple[Credential | None, list[str]]:
    """Answer the credential in the merged secrets, or None and what is wrong with them; no value is repeated."""
    problems = []
    if not secret.get(USERDATA_KEY, b"").strip():
        problems.append(
            f"the secret of this MachineClass has no key {USERDATA_KEY}, or it is empty; put the user data there"
        )
    credential, faults = read_credential(secret)
    return (None, problems + faults) if problems or faults else (credential, [])


def read_credential(secret: Mapping[str, bytes]) -> tuple[Credential | None, list[str]]:
    """Answer the API key in the merged secrets, or None and what is wrong with it; no value is repeated."""
    problems = []
    key = next((key for key in TOKEN_KEYS if secret.get(key, b"").strip()), None)
    token = secret[key].decode("ascii", errors="replace").strip() if key else ""
    if key is None:
        problems.append(
            f"the secret of this MachineClass has no key {TOKEN_KEYS[0]} (nor {TOKEN_KEYS[1]}), or it is empty; "
            "put an API key of the project there"
        )
    elif not _TOKEN.fullmatch(token):
        problems.append(f"the key {key} in the secret holds spaces or signs that no API key has; copy the API key anew")
    userdata = secret.get(USERDATA_KEY, b"").decode("utf-8", errors="replace")
    return (None, problems) if problems else (Credential(token=token, userdata=userdata), [])


def read_warnings(raw: Mapping[str, Any]) -> list[str]:
    """Answer what is accepted but deserves a word."""
    words = [_word(str(key)) for key in raw]
    reader = _Reader(raw)
    system = reader.value("OS")
    if reader.value("ipxeScriptUrl") and system and system != CUSTOM_IPXE:
        words.append(f"OS is ignored: a class with ipxeScriptUrl boots {CUSTOM_IPXE}; remove OS")
    if len({str(key).lower() for key in raw}) < len(raw):
        words.append("a key is written twice in different case; only the usual spelling counts")
    return [word for word in words if word]


def hostname_fault(name: str) -> str | None:
    """Answer why no device can have this name, in words; None when one can."""
    if len(name) > HOSTNAME_CHARACTERS_MAX:
        return (
            f"the name has {len(name)} characters, a hostname at most {HOSTNAME_CHARACTERS_MAX}; choose a shorter one"
        )
    if not _HOSTNAME.fullmatch(name):
        return "the name becomes the hostname: only a-z, 0-9 and inner dashes are allowed; choose another one"
    return None


def _word(key: str) -> str | None:
    name = _NAMES.get(key.lower())
    if name in _IDLE_KEYS:
        return _IDLE_KEYS[name]
    if name:
        return None
    near = get_close_matches(key.lower(), _NAMES, n=1, cutoff=0.6)
    hint = f"did you mean {_NAMES[near[0]]}?" if near else "remove it"
    return f"{_shown(key)} is unknown and ignored; {hint}"


class _Reader:
    """Takes values out of a providerSpec and collects what is wrong with them."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self._values = {_NAMES.get(str(key).lower(), str(key)): value for key, value in raw.items()}
        self._values.update({name: raw[name] for name in _USED_KEYS if name in raw})

    def value(self, name: str) -> Any:
        return self._values.get(name)

    def required(self, name: str, meaning: str) -> str:
        text = self._text(name)
        if text == "":
            self.problems.append(f"{name} is missing; write {meaning}")
        return text or ""

    def uuid(self, name: str, meaning: str) -> str:
        text = self.required(name, f"{meaning} (a UUID)")
        if text and not is_uuid(text):
            self.problems.append(f"{name} must be a UUID and is {_shown(text)}; write {meaning}")
        return text

    def uuids(self, name: str) -> tuple[str, ...]:
        texts = self._texts(name)
        for text in texts:
            if not is_uuid(text):
                self.problems.append(f"{name} holds {_shown(text)}, which is no UUID; write ids, not names")
        return tuple(dict.fromkeys(texts))

    def url(self, name: str) -> str | None:
        text = self._text(name)
        if text and not _is_web_address(text):
            self.problems.append(f"{name} must be an http or https URL and is {_shown(text)}")
        return text or None

    def billing_cycle(self) -> str:
        choices = ", ".join(BILLING_CYCLES)
        cycle = self.required("billingCycle", f"one of {choices}")
        if cycle and cycle not in BILLING_CYCLES:
            self.problems.append(f"billingCycle is {_shown(cycle)}; write one of {choices}")
        return cycle

    def operating_system(self, script: str | None) -> str:
        if script:
            return CUSTOM_IPXE
        return self.required("OS", "the slug of an operating system, such as ubuntu_22_04, or give an ipxeScriptUrl")

    def tags(self) -> tuple[str, ...]:
        tags = self._texts("tags")
        for part, meaning in ((CLUSTER_TAG_PART, "its cluster"), (ROLE_TAG_PART, "its role")):
            if not any(part in tag for tag in tags):
                self.problems.append(f"tags must hold one that contains {part}, so that a device names {meaning}")
        self.problems += [fault for tag in tags if (fault := _tag_fault(tag))]
        return tuple(dict.fromkeys(tags))

    def reserved_only(self) -> bool:
        value = self.value("reservedDevicesOnly")
        if value is not None and not isinstance(value, bool):
            self.problems.append(f"reservedDevicesOnly must be true or false and is {_shown(value)}")
        elif value and not self.value("reservationIDs"):
            self.problems.append(
                "reservedDevicesOnly is true but there are no reservationIDs; name some, or write false"
            )
        return value is True

    def _text(self, name: str) -> str | None:
        """Answer the text, empty when there is none; None when it is no text, which is noted."""
        value = self.value(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.problems.append(f"{name} must be a text and is {_shown(value)}; put it in quotes")
            return None
        return value.strip()

    def _texts(self, name: str) -> Sequence[str]:
        value = self.value(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problems.append(f"{name} must be a list of texts and is {_shown(value)}")
            return []
        return value


def _tag_fault(tag: str) -> str | None:
    if not 1 <= len(tag) <= TAG_CHARACTERS_MAX:
        return f"the tag {_shown(tag)} has {len(tag)} characters; a tag has 1 to {TAG_CHARACTERS_MAX}"
    if tag.startswith(UID_TAG_PREFIX):
        return f"the tag {_shown(tag)} begins with {UID_TAG_PREFIX}, which names a device's Machine; remove it"
    return None


def is_uuid(text: str) -> bool:
    """Answer whether this is a UUID in its usual spelling."""
    return _UUID.fullmatch(text) is not None


def _is_web_address(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.hostname)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
