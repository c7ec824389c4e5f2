"""Where the API servers are: kubeconfig files, the pod's own service account, or no target at all."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException

from engine.clock import Clock
from engine.cluster.api import ApiServer
from engine.errors import ConfigurationError

IN_CLUSTER = "inClusterConfig"
"""The word that means "the service account of this pod"; an empty path means the same inside a pod."""
NO_TARGET = "none"
"""The word that means "there is no target cluster"."""
POD_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Kubernetes sets it in every container."""
SPARE_CONNECTIONS = 4  # the lease, the events, a check, and one for luck
WATCHES = 4  # one a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which clusters, and how hard they may be pressed."""

    control_kubeconfig: str = ""
    """Path, `inClusterConfig`, or empty for the same as the target."""
    target_kubeconfig: str = ""
    """Path, `inClusterConfig` or empty for this pod's own cluster, or `none` for no Nodes at all."""
    namespace: str = "default"
    """Where Machines, MachineClasses, Secrets, Events and the Lease live, in the control cluster."""
    qps: float = 20.0
    """Writes a second and cluster; the Go controller's default."""
    burst: int = 30
    """Writes at once after a rest; the Go controller's default."""
    workers: int = 16
    """How many threads write at the same time; decides how many connections are kept open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServers:
    """The control cluster and, if there is one, the target; they may be the same."""

    control: ApiServer
    target: ApiServer | None

    def close(self) -> None:
        """Close the idle connections of both."""
        self.control.close()
        if self.target and self.target is not self.control:
            self.target.close()


def connect(options: ClusterOptions, *, clock: Clock) -> ApiServers:
    """Answer the API servers that the options name; nothing is asked of them yet.

    Raises ConfigurationError when the options contradict each other or a kubeconfig cannot be used.
    """
    _check(options)
    target_words, control_words = options.target_kubeconfig, options.control_kubeconfig or options.target_kubeconfig
    size = options.workers + WATCHES + SPARE_CONNECTIONS
    if target_words == NO_TARGET:
        return ApiServers(control=_open(control_words, "control", size=size, clock=clock), target=None)
    target = _open(target_words, "target", size=size, clock=clock)
    if _same(control_words, target_words):
        return ApiServers(control=target, target=target)
    return ApiServers(control=_open(control_words, "control", size=size, clock=clock), target=target)


def _check(options: ClusterOptions) -> None:
    if options.control_kubeconfig == NO_TARGET:
        raise ConfigurationError("control kubeconfig is `none`: only the target may be; name a file or inClusterConfig")
    if options.target_kubeconfig == NO_TARGET and not options.control_kubeconfig:
        raise ConfigurationError("target kubeconfig is `none` and control kubeconfig is empty: name a control cluster")
    if not options.namespace:
        raise ConfigurationError("namespace is empty: name the one that holds the Machines")
    if options.qps <= 0 or options.burst < 1:
        raise ConfigurationError(
            f"kube API qps is {options.qps} and burst {options.burst}: qps must be above 0, burst at least 1"
        )


def _same(one: str, other: str) -> bool:
    return (one or IN_CLUSTER) == (other or IN_CLUSTER)


def _open(words: str, title: str, *, size: int, clock: Clock) -> ApiServer:
    loader = _loader(words, title)
    return ApiServer(functools.partial(_configuration, loader, size), clock=clock, title=f"the {title} cluster")


def _loader(words: str, title: str) -> Callable[[Configuration], None]:
    if words in {"", IN_CLUSTER}:
        if not os.environ.get(POD_VARIABLE):
            raise ConfigurationError(
                f"{title} kubeconfig is {repr(words) if words else 'empty'}, which means this pod's own cluster, "
                f"but {POD_VARIABLE} is not set: name a kubeconfig file"
            )
        return functools.partial(_load_pod, title)
    return functools.partial(_load_file, title, Path(words))


def _load_pod(title: str, configuration: Configuration) -> None:
    try:
        # The hook that this sets reads the token again every minute.
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # half typed
    except (ConfigException, OSError) as error:
        raise ConfigurationError(f"{title} cluster: this pod's service account cannot be used: {error}") from error


def _load_file(title: str, path: Path, configuration: Configuration) -> None:
    if not path.is_file():
        raise ConfigurationError(f"{title} kubeconfig {path}: there is no such file")
    try:
        load = config.load_kube_config
        load(config_file=str(path), client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # half typed
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise ConfigurationError(f"{title} kubeconfig {path} cannot be used: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # The package reads the file without looking first whether it holds what it should.
        raise ConfigurationError(f"{title} kubeconfig {path} is no kubeconfig: {error}; try kubectl with it") from error
    if not configuration.host:
        raise ConfigurationError(f"{title} kubeconfig {path}: the current context names no server")


def _configuration(load: Callable[[Configuration], None], size: int) -> Configuration:
    configuration = Configuration()
    configuration.host = ""
    load(configuration)
    configuration.connection_pool_maxsize = size
    configuration.keep_alive = True  # A silent network is noticed by the kernel too.
    return configuration
