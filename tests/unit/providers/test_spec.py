"""What a MachineClass may say to Equinix Metal."""

from typing import Any

import pytest
import yaml

from engine.providers.equinix.spec import hostname_fault, read_secret, read_spec, read_warnings
from engine.resources import manifests_path

PROJECT = "93125c2a-8b78-4d4f-a3c4-7367d6b7cca8"
RESERVATION = "7d1e0d2a-1111-4111-8111-000000000001"
TAGS = ["kubernetes.io/cluster/shoot-a", "kubernetes.io/role/node"]


def spec(**changes: Any) -> dict[str, Any]:
    """Answer a valid providerSpec with changes; None takes a key out."""
    plain = {
        "projectID": PROJECT,
        "metro": "da",
        "machineType": "c3.small.x86",
        "billingCycle": "hourly",
        "OS": "ubuntu_22_04",
        "tags": TAGS,
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def test_valid_spec_is_read() -> None:
    """A spec in the Go provider's form is read as it stands."""
    read, problems = read_spec(spec(reservationIDs=[RESERVATION], reservedDevicesOnly=True, sshKeys=[PROJECT]))

    assert problems == []
    assert read
    assert (read.project_id, read.metro, read.plan, read.operating_system) == (
        PROJECT,
        "da",
        "c3.small.x86",
        "ubuntu_22_04",
    )
    assert read.tags == tuple(TAGS)
    assert read.reservation_ids == (RESERVATION,)
    assert read.reserved_only
    assert read.ssh_keys == (PROJECT,)
    assert read.cluster_tags == {"kubernetes.io/cluster/shoot-a"}


def test_keys_are_read_without_regard_to_case() -> None:
    """A key in any case is read, as Go's JSON does; the usual spelling wins over another one."""
    read, problems = read_spec({name.upper(): value for name, value in spec().items()} | {"metro": "ny"})

    assert problems == []
    assert read
    assert read.metro == "ny"
    assert read.plan == "c3.small.x86"


def test_script_forces_custom_ipxe() -> None:
    """An ipxeScriptUrl decides the operating system, whatever OS says."""
    for system in (None, "ubuntu_22_04"):
        read, problems = read_spec(spec(OS=system, ipxeScriptUrl="https://boot.example/script"))

        assert problems == []
        assert read
        assert read.operating_system == "custom_ipxe"
        assert read.ipxe_script_url == "https://boot.example/script"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metro": None}, "metro is missing"),
        ({"metro": "  "}, "metro is missing"),
        ({"metro": 5}, "metro must be a text and is 5"),
        ({"machineType": None}, "machineType is missing"),
        ({"OS": None}, "OS is missing"),
        ({"ipxeScriptUrl": "tftp://boot"}, "ipxeScriptUrl must be an http or https URL"),
        ({"ipxeScriptUrl": "https://["}, "ipxeScriptUrl must be an http or https URL"),
        ({"billingCycle": None}, "billingCycle is missing; write one of hourly, daily, monthly, yearly"),
        ({"billingCycle": "weekly"}, "billingCycle is 'weekly'; write one of hourly"),
        ({"projectID": None}, "projectID is missing"),
        ({"projectID": "my-project"}, "projectID must be a UUID and is 'my-project'"),
        ({"tags": None}, "tags must hold one that contains kubernetes.io/cluster/"),
        ({"tags": TAGS[:1]}, "tags must hold one that contains kubernetes.io/role/"),
        ({"tags": "one"}, "tags must be a list of texts and is 'one'"),
        ({"tags": [*TAGS, 5]}, "tags must be a list of texts"),
        ({"tags": [*TAGS, ""]}, "the tag '' has 0 characters; a tag has 1 to 80"),
        ({"tags": [*TAGS, "x" * 81]}, "has 81 characters"),
        ({"tags": [*TAGS, "machine.sapcloud.io/uid=1"]}, "which names a device's Machine; remove it"),
        ({"sshKeys": ["alice"]}, "sshKeys holds 'alice', which is no UUID"),
        ({"reservationIDs": ["next-available"]}, "reservationIDs holds 'next-available', which is no UUID"),
        ({"reservedDevicesOnly": "yes", "reservationIDs": [RESERVATION]}, "must be true or false and is 'yes'"),
        ({"reservedDevicesOnly": True}, "reservedDevicesOnly is true but there are no reservationIDs"),
    ],
)
def test_fault_is_named(changes: dict[str, Any], words: str) -> None:
    """Each fault is told in words that name the key and what to write."""
    read, problems = read_spec(spec(**changes))

    assert read is None
    assert [problem for problem in problems if words in problem], problems


def test_all_faults_are_told_at_once() -> None:
    """An empty spec is told everything that it lacks."""
    _, problems = read_spec({})

    for key in ("projectID", "metro", "machineType", "billingCycle", "OS", "cluster", "role"):
        assert any(key in problem for problem in problems)


@pytest.mark.parametrize("raw", [None, [], "text"])
def test_spec_that_is_no_object_is_refused(raw: Any) -> None:
    """A providerSpec that is null or no object is told so, and nothing crashes."""
    assert read_spec(raw) == (None, [problem for problem in read_spec(raw)[1] if "providerSpec" in problem])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"facilities": ["ny5"]}, "facilities are deprecated and ignored"),
        ({"facility": "ny5"}, "facility is deprecated and ignored"),
        ({"userdata": "x"}, "userdata in the class is ignored"),
        ({"userData": "x"}, "userdata in the class is ignored"),
        ({"metadata": {}}, "metadata is ignored"),
        ({"machineTyp": "x"}, "'machineTyp' is unknown and ignored; did you mean machineType?"),
        ({"colour": "red"}, "'colour' is unknown and ignored; remove it"),
        ({"ipxeScriptUrl": "https://boot.example"}, "OS is ignored"),
        ({"Metro": "ny"}, "written twice in different case"),
    ],
)
def test_oddity_gets_a_word(changes: dict[str, Any], words: str) -> None:
    """What is accepted but does nothing is told once, and the spec stays valid."""
    raw = spec(**changes)

    assert read_spec(raw)[1] == []
    assert [words in warning for warning in read_warnings(raw)] == [True]


def test_valid_spec_gets_no_word() -> None:
    """A spec without oddities is warned of nothing."""
    assert read_warnings(spec(apiVersion="mcm.gardener.cloud/v1alpha1")) == []


def test_samples_are_valid() -> None:
    """Each MachineClass that we ship is valid; only the one with facilities is warned of."""
    text = (manifests_path() / "machine-class.yaml").read_text()

    for machine_class in yaml.safe_load_all(text):
        assert read_spec(machine_class["providerSpec"])[1] == []
        warned = len(read_warnings(machine_class["providerSpec"]))
        assert warned == (machine_class["metadata"]["name"] == "facilities")


def test_token_is_taken_from_either_key_without_its_newline() -> None:
    """The token is apiToken, or else alternateApiToken, without the newline that an editor left."""
    secrets = (
        {"apiToken": b"token-a\n", "alternateApiToken": b"token-b", "userData": b"x"},
        {"apiToken": b" ", "alternateApiToken": b"token-b", "userData": b"x"},
    )

    tokens = [credential.token for credential, _ in map(read_secret, secrets) if credential]

    assert tokens == ["token-a", "token-b"]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ({"userData": b"x"}, "no key apiToken"),
        ({"apiToken": b"\n", "userData": b"x"}, "no key apiToken"),
        ({"apiToken": b"t"}, "no key userData"),
        ({"apiToken": b"t", "userData": b" \n"}, "no key userData"),
        ({"apiToken": b"two words", "userData": b"x"}, "the key apiToken in the secret holds spaces"),
        ({"apiToken": b"\xff\xfe", "userData": b"x"}, "the key apiToken in the secret holds spaces"),
    ],
)
def test_unusable_secret_is_told_without_its_values(secret: dict[str, bytes], words: str) -> None:
    """What is wrong with a secret is told by its key, and no value is repeated."""
    credential, problems = read_secret(secret)

    assert credential is None
    assert [words in problem for problem in problems] == [True]
    assert "two words" not in problems[0]


def test_credential_hides_its_token() -> None:
    """The representation of a credential does not show the token."""
    credential, _ = read_secret({"apiToken": b"canary", "userData": b"x"})

    assert "canary" not in repr(credential)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("worker-1", None),
        ("a", None),
        ("x" * 63, None),
        ("x" * 64, "64 characters"),
        ("-worker", "inner dashes"),
        ("worker-", "inner dashes"),
        ("Worker", "a-z"),
        ("worker.1", "a-z"),
        ("wörker", "a-z"),
        ("worker\n", "a-z"),
        ("", "a-z"),
    ],
)
def test_hostname_is_one_label(name: str, words: str | None) -> None:
    """A name that cannot be a hostname is refused before anything is bought."""
    fault = hostname_fault(name)

    assert (fault is None) if words is None else (fault and words in fault)
