"""The embedded Kubernetes API server: enough of the real one for `kubectl`, for controllers and for their tests.

From the wire inwards: ``simulator`` (the whole), ``api`` (paths), ``resources`` (verbs), ``negotiation`` and
``protobuf`` (formats), ``discovery`` and ``openapi`` (what is there), ``lists``, ``watches`` and ``views`` (reading,
with ``selectors``, ``columns`` and ``jsonpath``), ``cluster`` (the rules), ``writes``, ``removals``, ``patches``,
``scale``, ``disruptions`` and ``reviews`` (writing), ``meta``, ``completions``, ``structure`` and ``validation``
(what an object must be), ``kinds``, ``builtins``, ``eventforms`` and ``customs`` (which kinds there are), ``objects``
and ``persistence`` (where they lie), ``errors`` and ``causes`` (refusals).

Left out on purpose: admission webhooks, CEL rules, field ownership, RBAC, aggregation, and every controller but garbage
collection, namespaces and disruption budgets.
"""

from engine.simulators.kube.errors import StatusError
from engine.simulators.kube.simulator import KubeSimulator, Ref

__all__ = ["KubeSimulator", "Ref", "StatusError"]
