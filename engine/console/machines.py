"""The machines as metrics of the contract, gathered from the cache at each scrape; gone machines leave no series."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.domain.wanted import NODE_LABEL, MachineObject

PHASE_VALUES = {"Terminating": -4, "Failed": -3, "CrashLoopBackOff": -2, "Unknown": -1, "Running": 1}
"""The numbers of the contract; every other phase is 0."""


class MachineCollector(Collector):
    """Answers the number of Machines, their phases, and what identifies them."""

    def __init__(self, machines: Callable[[], Sequence[MachineObject]]) -> None:
        self._machines = machines

    def collect(self) -> Iterable[Metric]:
        """Answer the metrics as of now."""
        machines = self._machines()
        yield GaugeMetricFamily("mcm_machine_items_total", "Machines in the namespace.", value=len(machines))
        phases = GaugeMetricFamily(
            "mcm_machine_current_status_phase", "The phase of a Machine as a number.", labels=["name", "namespace"]
        )
        facts = GaugeMetricFamily(
            "mcm_machine_info",
            "What identifies a Machine; always 1.",
            labels=[
                "name",
                "namespace",
                "createdAt",
                "spec_provider_id",
                "spec_class_kind",
                "spec_class_name",
                "node_name",
            ],
        )
        for each in machines:
            phase = each.status.phase if each.status else ""
            phases.add_metric([each.name, each.namespace], PHASE_VALUES.get(phase, 0))
            facts.add_metric(_identity(each), 1)
        yield phases
        yield facts


def _identity(machine: MachineObject) -> list[str]:
    return [
        machine.name,
        machine.namespace,
        str(int(machine.created_at.timestamp())),
        machine.provider_id,
        machine.class_kind,
        machine.class_name,
        machine.labels.get(NODE_LABEL, ""),
    ]
