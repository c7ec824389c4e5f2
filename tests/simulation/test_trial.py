"""Plans are drawn, played, shrunk, kept and counted; the verbs that do so say what came of it."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.clock import SystemClock
from engine.errors import ConfigurationError
from engine.simulators.coverage import FAULTS, LIVING, UNREACHABLE, matrix, never_met
from engine.simulators.deeds import DEEDS, MOVES_DATABASE, TEMPERS
from engine.simulators.disk import available
from engine.simulators.plan import Plan, draw_plan, read_plan, write_plan
from engine.simulators.soak import SoakSettings, Tally, soak
from engine.simulators.telling import progress_line, tally_lines
from engine.simulators.trial import shrink, try_out
from tests.simulation.mutations.wrongs import WRONGS

WRONG = "the finalizer goes when the return is accepted"
QUICK = 40


def failing(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan that breaks a promise, because the engine is wrong."""
    WRONGS[WRONG](monkeypatch)
    plans = (draw_plan(str(seed), steps=QUICK) for seed in range(20))
    return next(plan for plan in plans if try_out(plan).broken)


def test_a_failing_plan_is_shrunk_kept_and_played_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is left has fewer deeds, breaks the same promise, survives a file, and breaks nothing of a right engine."""
    with monkeypatch.context() as wrong:
        plan = failing(wrong)
        broken = try_out(plan).broken
        small = shrink(plan, broken)
        write_plan(tmp_path / "plan.json", small)
        again = try_out(read_plan(tmp_path / "plan.json"))
    assert len(small.deeds) < len(plan.deeds)
    assert again.broken[:2] == broken[:2] == "I4"
    assert not try_out(small).broken


def test_threads_are_interleaved_at_calls_and_repeatable() -> None:
    """While one thread waits for a call others run machines of theirs; the same plan gives the same trace."""
    plan = replace(draw_plan("threads", steps=QUICK, faults=[]), interleaved=0.3)
    first, again, alone = try_out(plan), try_out(plan), try_out(replace(plan, interleaved=0.0))
    assert not first.broken
    assert most_claims(first.trace) > most_claims(alone.trace) == 1
    assert first.trace == again.trace
    assert any(draw_plan(str(seed), steps=1).interleaved for seed in range(5))


def most_claims(trace: list[str]) -> int:
    """How many machines were worked on at once, at most."""
    held: set[str] = set()
    most = 0
    for words in (line.split() for line in trace):
        if words[2:3] == ["store.claim"]:
            held.add(words[3])
        elif words[2:3] == ["store.release"]:
            held.discard(words[3])
        most = max(most, len(held))
    return most


def test_a_plan_that_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    """Neither a file that is not there, nor one that holds something else, nor one with unknown names is played."""
    path = tmp_path / "plan.json"
    with pytest.raises(ConfigurationError, match="no plan can be read"):
        read_plan(path)
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="no plan can be read"):
        read_plan(path)
    plan = draw_plan("1", steps=QUICK)
    write_plan(path, replace(plan, deeds=(replace(plan.deeds[0], name="earthquake"),)))
    with pytest.raises(ConfigurationError, match="nothing is called earthquake"):
        read_plan(path)


def test_only_the_wanted_faults_are_drawn() -> None:
    """Wishes are always there; a fault of no such name is refused, and each temper names faults that exist."""
    drawn = {deed.name for deed in draw_plan("1", steps=400, faults=["crash"]).deeds}
    assert drawn == {"create", "delete", "reclass", "crash"}
    with pytest.raises(ConfigurationError, match=r"there is no fault earthquake; there are .*crash"):
        draw_plan("1", steps=QUICK, faults=["earthquake"])
    assert set().union(*TEMPERS.values()) == set(FAULTS)


def test_a_pair_that_was_never_met_is_named() -> None:
    """What was met, or cannot be, is not; the table shows all three."""
    met = Counter({("crash", place): 7 for place in LIVING[1:]})
    assert never_met(met, unreachable={}, faults=["crash"]) == [("crash", LIVING[0])]
    assert not never_met(met, unreachable={("crash", LIVING[0]): "why"}, faults=["crash"])
    assert matrix(met, unreachable={}, faults=["crash"])[1].split()[:3] == ["crash", "!", "7"]
    assert matrix(met, unreachable={("crash", LIVING[0]): "why"}, faults=["crash"])[1].split()[1] == "-"
    assert all(fault in DEEDS and place in LIVING for fault, place in UNREACHABLE)


def test_a_soak_counts_what_it_played(tmp_path: Path) -> None:
    """Worlds of consecutive seeds run on several processes until the time is over."""
    told: list[str] = []
    settings = SoakSettings(span=timedelta(seconds=1), workers=2, steps=QUICK, folder=tmp_path)
    tally = soak(settings, clock=SystemClock(), told=lambda each: told.append(progress_line(each)))
    assert tally.worlds == len(told) >= 2
    assert tally.machines
    assert tally.met
    assert not tally.broken
    assert not list(tmp_path.iterdir())
    assert any(line.startswith("NEVER MET: ") for line in tally_lines(tally)), "in a second not everything can meet"


def test_a_broken_promise_is_told_with_what_replays_it(tmp_path: Path) -> None:
    """The summary names the promise and the kept plan."""
    tally = Tally(broken=[(tmp_path / "seed-7.json", "I1: two devices")])
    assert [line for line in tally_lines(tally) if "I1: two devices" in line and "--plan" in line]


def test_the_verb_shows_a_world() -> None:
    """The seed, the deeds, what lived, how fast it was, and that every promise was kept."""
    shown = CliRunner().invoke(app, ["simulate", "world", "--seed", "7", "--steps", "150", "--trace"])
    assert shown.exit_code == 0, shown.output
    for words in ("seed 7: 150 steps", "step ", "machines lived", "times as fast", "every promise was kept", "store."):
        assert words in shown.output


def test_a_database_whose_power_fails_is_not_replaced() -> None:
    """No such fault is drawn beside power cuts, and one that is named is refused in words."""
    deeds = {each.name for seed in range(40) for each in draw_plan(str(seed), steps=QUICK, power_cuts=True).deeds}
    assert not deeds & MOVES_DATABASE
    with pytest.raises(ConfigurationError, match="store_lost replaces the database whose power fails"):
        draw_plan("1", steps=QUICK, faults=["store_lost"], power_cuts=True)


@pytest.mark.skipif(not available(), reason="this Python's SQLite cannot be put on a simulated disk")
def test_the_verb_shows_a_world_whose_power_fails() -> None:
    """It says so, tells how often the process died, and that every promise was kept."""
    shown = CliRunner().invoke(app, ["simulate", "power-cuts", "--seed", "7", "--steps", "30"])
    assert shown.exit_code == 0, shown.output
    for words in ("seed 7: 30 steps", "on SQLite whose power fails", "every promise was kept"):
        assert words in shown.output


def test_a_seed_has_one_trace_in_every_process() -> None:
    """The order of a set, which changes with the process, decides nothing: the trace is the same, byte for byte."""
    command = [sys.executable, "-m", "engine", "simulate", "world", "--seed", "11", "--steps", "150", "--trace"]

    def trace(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        return [line for line in shown.splitlines() if "times as fast" not in line]

    first = trace("1")
    assert len(first) > 1_000
    assert trace("2") == first


def test_the_verb_shrinks_and_keeps_what_broke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It answers 1, says which promise, and how to play it again."""
    plan = failing(monkeypatch)
    words = ["simulate", "world", "--seed", plan.seed, "--steps", str(QUICK), "--keep", str(tmp_path)]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 1
    assert "BROKEN: I4" in shown.output
    assert f"--plan {tmp_path}/seed-{plan.seed}.json" in shown.output
    replayed = CliRunner().invoke(app, ["simulate", "world", "--plan", str(tmp_path / f"seed-{plan.seed}.json")])
    assert "BROKEN: I4" in replayed.output
