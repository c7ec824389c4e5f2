"""The `Cluster` port in memory, for simulated worlds: no HTTP, no threads, and the same promises.

``shelf`` holds the objects as the API server has them, ``watch`` as a reader has seen them so far, ``user`` is what
people and other controllers do, ``port`` is what the engine sees.
"""

from engine.simulators.cluster.port import SimulatedCluster
from engine.simulators.cluster.user import ClusterUser

__all__ = ["ClusterUser", "SimulatedCluster"]
