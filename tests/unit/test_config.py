"""Settings: flags win over the environment, mistakes are named at once, and service links are no settings."""

from datetime import timedelta

import pytest

from engine.config import Settings, load
from engine.errors import ConfigurationError


def test_flag_wins_over_environment_and_environment_over_default() -> None:
    """What was typed counts most; what nobody named has its default."""
    environment = {"MACHINE_ENGINE_PORT": "1", "MACHINE_ENGINE_NAMESPACE": "shoot", "PATH": "/bin"}

    settings = load({"port": "2", "database": None}, environment)

    assert (settings.port, settings.namespace, settings.database) == (2, "shoot", Settings().database)


def test_durations_are_written_as_go_writes_them() -> None:
    """The flags of the Go controller can be taken over as they are."""
    assert load({"machine_creation_timeout": "1h30m"}, {}).machine_creation_timeout == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": "many", "retry_first": "2 s"}, ["--port", "--retry-first", "20m0s"]),
        ({"target_kubeconfig": "none"}, ["control-kubeconfig"]),
        ({"log_level": "LOUD"}, ["--log-level"]),
        ({"leader_elect_retry_period": "1m"}, ["retry-period < renew-deadline < lease-duration"]),
    ],
)
def test_mistakes_are_named_in_words(flags: dict[str, str], words: list[str]) -> None:
    """The message names every setting that is wrong, and what to write."""
    with pytest.raises(ConfigurationError) as refused:
        load(flags, {})

    assert [word for word in words if word not in str(refused.value)] == []


def test_unknown_name_is_refused() -> None:
    """A misspelt variable must not be a silent default."""
    with pytest.raises(ConfigurationError, match="MACHINE_ENGINE_DATABSE"):
        load({}, {"MACHINE_ENGINE_DATABSE": "sqlite:///x.db"})


def test_value_of_the_database_is_not_repeated() -> None:
    """An address may hold a password."""
    with pytest.raises(ConfigurationError) as refused:
        load({"port": "x"}, {"MACHINE_ENGINE_DATABASE": "postgresql://me:canary@host/name"})

    assert "canary" not in str(refused.value)


def test_variables_of_a_service_of_our_name_are_no_settings() -> None:
    """Kubernetes sets them in every container of the namespace in which our Service is."""
    links = {
        "MACHINE_ENGINE_SERVICE_HOST": "10.0.0.1",
        "MACHINE_ENGINE_SERVICE_PORT": "10259",
        "MACHINE_ENGINE_SERVICE_PORT_PROVIDERMETRICS": "10259",
        "MACHINE_ENGINE_PORT": "tcp://10.0.0.1:10259",
        "MACHINE_ENGINE_PORT_10259_TCP": "tcp://10.0.0.1:10259",
        "MACHINE_ENGINE_PORT_10259_TCP_ADDR": "10.0.0.1",
        "MACHINE_ENGINE_METRICS_SERVICE_HOST": "10.0.0.2",
    }

    assert load({}, links) == Settings()
