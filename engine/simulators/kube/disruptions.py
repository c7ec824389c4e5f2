"""Disruption budgets: how many pods may go now, and evictions that ask for it.

The numbers in a budget's status are kept up to date at once, as a cluster's disruption controller does in time.
"""

import math
from collections.abc import Mapping
from typing import Any

from engine.simulators.kube.builtins import BUDGETS, PODS
from engine.simulators.kube.errors import broken, too_many_requests
from engine.simulators.kube.kinds import Json
from engine.simulators.kube.objects import ObjectStore, Stored
from engine.simulators.kube.selectors import selects


def refresh_budgets(store: ObjectStore, namespace: str) -> None:
    """Write into every budget of the namespace what is true now."""
    budgets = store.listed(BUDGETS, namespace)
    pods = store.listed(PODS, namespace) if budgets else []
    for budget in budgets:
        value = budget.copy()
        value["status"] = {**(value.get("status") or {}), **_numbers(value, pods)}
        if value != budget.value:
            store.put(budget.key, value)


def check_eviction(store: ObjectStore, pod: Stored) -> None:
    """Refuse an eviction that a budget forbids now; a pod that serves nobody any more may always go."""
    phase = (pod.value.get("status") or {}).get("phase")
    if phase in {"Succeeded", "Failed", "Pending"} or "deletionTimestamp" in pod.value["metadata"]:
        return
    labels = pod.value["metadata"].get("labels") or {}
    budgets = [
        budget
        for budget in store.listed(BUDGETS, pod.key[1])
        if selects((budget.value.get("spec") or {}).get("selector"), labels)
    ]
    if len(budgets) > 1:
        raise broken("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
    if budgets:
        _check_budget(budgets[0], pod)


def _check_budget(budget: Stored, pod: Stored) -> None:
    status = budget.value.get("status") or {}
    healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not _is_ready(pod.value):
        always = (budget.value.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or (healthy >= needed > 0):
            return
    if status.get("disruptionsAllowed", 0) > 0:
        return
    told = f"The disruption budget {budget.key[2]} needs {needed} healthy pods and has {healthy} currently"
    raise too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        [{"reason": "DisruptionBudget", "message": told}],
    )


def _numbers(budget: Json, pods: list[Stored]) -> Json:
    spec = budget.get("spec") or {}
    chosen = [
        pod.value
        for pod in pods
        if selects(spec.get("selector"), pod.value["metadata"].get("labels") or {})
        and (pod.value.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}
    ]
    healthy = sum(_is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in chosen)
    expected = len(chosen)
    if spec.get("maxUnavailable") is not None:
        needed = max(0, expected - _share(spec["maxUnavailable"], expected))
    else:
        needed = _share(spec.get("minAvailable", 0), expected)
    return {
        "currentHealthy": healthy,
        "desiredHealthy": needed,
        "disruptionsAllowed": max(0, healthy - needed) if expected else 0,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def _share(wanted: int | str, of: int) -> int:
    if isinstance(wanted, str):
        return math.ceil(of * int(wanted.rstrip("%")) / 100)
    return wanted


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
