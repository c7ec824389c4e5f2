"""What hunts a wrong behaviour: worlds from seeds first, then plans that once broke a promise, then named scenarios."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog

from engine.simulators.disk import Disk
from engine.simulators.metal import FaultKind
from engine.simulators.plan import Plan, draw_plan, read_plan
from engine.simulators.trial import try_out
from tests.simulation import test_breakers as breakers
from tests.simulation import test_disk as disks
from tests.simulation import test_scenarios as scenarios
from tests.simulation.faults import test_cloud as cloud
from tests.simulation.faults import test_orders as orders
from tests.simulation.faults import test_rivals as rivals
from tests.simulation.faults import test_secrets as secrets
from tests.simulation.faults import test_time as time
from tests.simulation.test_seeds import KEPT, STEPS, on_disk

SEEDS = 8
"""How many seeds are tried before the scenarios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One run that a wrong behaviour may not survive."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """By what a wrong behaviour was noticed."""

    hunt: str
    worlds: int
    """How many worlds from seeds were played until then."""
    promise: str
    """In the words of the failure."""


def hunt() -> Caught | None:
    """Answer what notices that something is wrong; None when everything seems well."""
    for seed in range(SEEDS):
        broken = _broken(partial(_world, str(seed)))
        if broken:
            return Caught(hunt=f"seed {seed}", worlds=seed + 1, promise=broken)
    for each in (*_kept_plans(), *_scenarios(), *_real_stores()):
        broken = _broken(each.run)
        if broken:
            return Caught(hunt=each.name, worlds=SEEDS, promise=broken)
    return None


def _world(seed: str) -> None:
    _play(draw_plan(seed, steps=STEPS))


def _play(plan: Plan) -> None:
    report = try_out(plan)
    assert not report.broken, report.broken


def _broken(run: Callable[[], object]) -> str:
    """Answer the first line of the failure; any exception is one, also those that nothing in the engine may catch."""
    try:
        run()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as failure:  # noqa: BLE001 - a broken promise is none of the ordinary exceptions
        return str(failure).split("\n", 1)[0] or type(failure).__name__
    return ""


def _kept_plans() -> Iterator[Hunt]:
    for path in KEPT:
        yield Hunt(name=f"plan {path.stem}", run=partial(_play, read_plan(path)))


def _scenarios() -> Iterator[Hunt]:
    failing_look = scenarios.test_an_empty_list_and_a_failing_look_prove_nothing
    hiding = scenarios.test_a_list_that_hides_a_device_does_not_drop_the_finalizer
    named: list[Callable[[], object]] = [
        partial(failing_look, FaultKind.OH_SNAP_BEFORE, leaving=True),
        partial(failing_look, FaultKind.OH_SNAP_BEFORE, leaving=False),
        scenarios.test_an_empty_list_deletes_and_fails_nothing,
        scenarios.test_a_second_device_is_given_back_without_a_human,
        scenarios.test_a_take_over_waits_for_what_was_just_bought,
        scenarios.test_another_machines_device_is_neither_adopted_nor_returned,
        scenarios.test_a_providerid_that_is_changed_later_returns_nobodys_device,
        partial(scenarios.test_a_key_of_another_project_proves_nothing, asked=True),
        partial(scenarios.test_a_key_of_another_project_proves_nothing, asked=False),
        partial(hiding, FaultKind.LIST_TRUNCATED),
        partial(orders.test_f01_an_order_whose_answer_is_lost_buys_one_device, "reset", None),
        partial(orders.test_f15_a_device_that_vanishes_fails_its_machine_and_buys_no_other, 404),
        cloud.test_f14_a_reservation_is_wiped_before_the_next_machine_has_it,
        partial(cloud.test_f04_an_outage_fails_and_frees_nobody, "release", "403"),
        partial(cloud.test_f03_a_list_that_lies_deletes_and_fails_nothing, "release", FaultKind.LIST_EMPTY),
        time.test_f19_a_clock_that_jumps_ends_no_visibility_window,
        breakers.test_a_loss_that_lists_confirm_is_believed,
        _echo,
    ]
    for each in named:
        yield Hunt(name=(each.func if isinstance(each, partial) else each).__name__, run=each)


def _echo() -> None:
    """The cloud repeats what it was given, in each of its forms."""
    for form in (secrets.errors, secrets.page):
        with pytest.MonkeyPatch.context() as patch, _log() as log:
            secrets.test_f23_a_cloud_that_echoes_secrets_is_not_quoted(form, 422, patch, log)


@contextmanager
def _log() -> Iterator[io.StringIO]:
    stream, kept = io.StringIO(), structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream), cache_logger_on_first_use=False)
    try:
        yield stream
    finally:
        structlog.configure(**kept)


def _real_stores() -> Iterator[Hunt]:
    yield Hunt(name="test_f07 on SQLite", run=_frozen_on_sqlite)
    yield Hunt(name="worlds whose power fails", run=_power_failures)


def _frozen_on_sqlite() -> None:
    with TemporaryDirectory() as folder, on_disk(Path(folder) / "engine.db") as store:
        rivals.test_f07_the_real_store_fences_a_controller_that_was_frozen(store)


def _power_failures() -> None:
    with TemporaryDirectory() as folder, Disk() as disk:
        for number in range(SEEDS):
            place = Path(folder) / f"{number}.db"
            disks.suffered(disk, place, disks.planned(f"weak-{number}"))
