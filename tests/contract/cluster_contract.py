"""What every cluster must keep, said against the port alone; `test_cluster.py` runs it on each API server."""

import dataclasses

from engine.domain.device import Address
from tests.contract.cluster_read_contract import ReadContract
from tests.contract.cluster_stage import (
    CONDITION,
    DEVICE,
    PENDING,
    Stage,
    machine_of,
)
from tests.contract.cluster_write_contract import WriteContract


class ClusterContract(ReadContract, WriteContract):
    """Everything that the port promises with a target cluster."""


class LonelyClusterContract:
    """What is different without a target cluster."""

    def test_there_are_no_nodes(self, lonely: Stage) -> None:
        """Without a target there is no Node, whatever the control cluster holds."""
        lonely.user.make_node("n", provider_id=DEVICE)
        machine_of(lonely)
        assert not lonely.cluster.has_target
        assert lonely.cluster.node(name=lonely.user.node_name("n"), device_suffix=DEVICE) is None

    def test_addresses_go_without_a_target(self, lonely: Stage) -> None:
        """Without a target cluster, addresses are published and conditions are left alone."""
        machine = machine_of(lonely)
        addresses = (Address(kind="Hostname", address="m"), Address(kind="InternalIP", address="10.0.0.1"))
        status = dataclasses.replace(PENDING, conditions=(CONDITION,), addresses=addresses)
        after = lonely.cluster.write_status(machine, status)
        assert after.status == dataclasses.replace(status, conditions=())
