"""The states of a machine's life and the steps inside them."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The five states that an operator sees, and the final mark of a life that is over."""

    PENDING = "Pending"
    """Admitted, and not allowed to buy yet: the order is being checked, or there is no capacity."""
    PROVISIONING = "Provisioning"
    """A device is being ordered or installed, or its Node is awaited."""
    ACTIVE = "Active"
    """The device serves: its Node has joined, or there is no target cluster and the device is up."""
    FAILED = "Failed"
    """Given up, with the reason; waits for its deletion, an operator, or a recovery by itself."""
    DELETING = "Deleting"
    """Everything that was bought is being given back."""
    DELETED = "Deleted"
    """Nothing is left but the history."""


class Step(StrEnum):
    """How far the work inside a state is; an imperative names what is tried next."""

    VALIDATE = "validate"
    WAIT_CAPACITY = "wait-capacity"
    ORDER = "order"
    INSTALL = "install"
    JOIN = "join"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    HALT = "halt"
    RELEASE = "release"
    FORGET_NODE = "forget-node"
    FINALIZE = "finalize"
    REST = "rest"


class Place(NamedTuple):
    """Where a machine stands: a state and a step inside it."""

    state: State
    step: Step

    def __str__(self) -> str:
        return f"{self.state}/{self.step}"


class UnknownPlace(NamedTuple):
    """Where a machine stood by the word of a newer program: history keeps what it cannot explain."""

    state: str
    step: str

    def __str__(self) -> str:
        return f"{self.state}/{self.step}"


PENDING_VALIDATE = Place(State.PENDING, Step.VALIDATE)
PENDING_WAIT_CAPACITY = Place(State.PENDING, Step.WAIT_CAPACITY)
PROVISIONING_ORDER = Place(State.PROVISIONING, Step.ORDER)
PROVISIONING_INSTALL = Place(State.PROVISIONING, Step.INSTALL)
PROVISIONING_JOIN = Place(State.PROVISIONING, Step.JOIN)
ACTIVE_HEALTHY = Place(State.ACTIVE, Step.HEALTHY)
ACTIVE_UNHEALTHY = Place(State.ACTIVE, Step.UNHEALTHY)
FAILED_HALT = Place(State.FAILED, Step.HALT)
DELETING_RELEASE = Place(State.DELETING, Step.RELEASE)
DELETING_FORGET_NODE = Place(State.DELETING, Step.FORGET_NODE)
DELETING_FINALIZE = Place(State.DELETING, Step.FINALIZE)
DELETED_REST = Place(State.DELETED, Step.REST)

PLACES: tuple[Place, ...] = (
    PENDING_VALIDATE,
    PENDING_WAIT_CAPACITY,
    PROVISIONING_ORDER,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
    ACTIVE_HEALTHY,
    ACTIVE_UNHEALTHY,
    FAILED_HALT,
    DELETING_RELEASE,
    DELETING_FORGET_NODE,
    DELETING_FINALIZE,
    DELETED_REST,
)
"""Every place that exists, in the order of a life."""
