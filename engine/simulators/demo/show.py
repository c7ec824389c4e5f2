"""Run the demo world and show it: a live picture on a terminal, plain lines in a pipe.

The log goes into a file, so that nothing is mixed into either.
"""

import os
import sys
import threading
from collections import deque
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.live import Live

from engine.clock import Clock, SystemClock
from engine.domain.machine import MachineFilter
from engine.errors import ConfigurationError, StoreUnavailableError
from engine.logs import configure
from engine.simulators.demo.feed import Feed, Happening
from engine.simulators.demo.folder import Folder
from engine.simulators.demo.screen import HAPPENINGS_MAX, HINT, TITLE, commands, facts, picture
from engine.simulators.demo.world import World, opened

_TICK = timedelta(milliseconds=250)  # as often as people notice


def run_demo(*, folder: Path, port: int, plain: bool, stopping: threading.Event) -> None:
    """Run the world in this folder until `stopping` is set; the next run goes on where this one was.

    Raises ConfigurationError when the folder cannot be used, is used by another demo, or is deleted meanwhile.
    """
    clock, console = SystemClock(), Console()
    with Folder(folder) as kept, kept.log.open("a", encoding="utf-8") as log:
        configure(stream=log)
        _say(f"Starting the demo world in {folder} …")
        with opened(kept, port=port, clock=clock) as world:
            feed = Feed(store=world.controller.store, clock=clock)
            world.controller.start()
            if plain or console.is_dumb_terminal:
                _tell(world, feed, stopping, clock)
            else:
                _draw(console, world, feed, stopping, clock)
            _say("Stopping …")
    _say(f"Stopped. {HINT.removeprefix('Ctrl-C stops, ')}")


def _draw(console: Console, world: World, feed: Feed, stopping: threading.Event, clock: Clock) -> None:
    store = world.controller.store
    lately: deque[Happening] = deque(maxlen=HAPPENINGS_MAX)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while _goes_on(world, stopping):
            try:
                lately.extend(feed.news())
                records = store.find(MachineFilter(unfinished_only=True))
                live.update(picture(console, world, records, lately), refresh=True)
            except StoreUnavailableError:
                lately.clear()  # the log says why; the picture stands still until the database is back
            clock.wait(stopping, _TICK)


def _tell(world: World, feed: Feed, stopping: threading.Event, clock: Clock) -> None:
    try:
        _introduce(world)
        for happening in feed.standing():
            _say(str(happening))
        while _goes_on(world, stopping):
            for happening in feed.news():
                _say(str(happening))
            clock.wait(stopping, _TICK)
    except BrokenPipeError:
        # Nobody reads on. The interpreter flushes once more at its end; that must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _introduce(world: World) -> None:
    _say(TITLE)
    for name, value in facts(world):
        _say(f"{name + ':':<13} {value}")
    _say("Try in another terminal:")
    for command in commands(world.folder):
        _say(f"  {command}")


def _goes_on(world: World, stopping: threading.Event) -> bool:
    if not world.folder.exists:
        raise ConfigurationError(f"{world.folder.path} was deleted, so this demo world is over; start it anew")
    return not stopping.is_set()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
