"""What tools do not check about the shape of the code; each rule is shown a bad snippet and its good twin first."""

import textwrap

import pytest

from tests.architecture.rules import faults_in
from tests.architecture.sources import Source, python_files

LONG_FUNCTION = "def f() -> None:\n" + "    g()\n" * 50
SNIPPETS = [
    pytest.param('"""D."""\n' + "x = 1\n" * 400, "module has 401 lines", id="long module"),
    pytest.param(LONG_FUNCTION, "`f` has 51 lines", id="long function"),
    pytest.param("def f(a, b, c, *, d, e, f, g): ...", "`f` has 7 parameters", id="parameters"),
    pytest.param("import datetime\nx = datetime.datetime.now()", "take a `Clock`", id="now"),
    pytest.param("from datetime import datetime\nx = datetime.now", "take a `Clock`", id="now as a value"),
    pytest.param("from datetime import datetime as dt\nx = dt.utcnow()", "take a `Clock`", id="now renamed"),
    pytest.param("import time\ntime.sleep(1)", "`sleep()` or `wait()`", id="sleep"),
    pytest.param("from time import monotonic\nmonotonic()", "take a `Clock`", id="monotonic"),
    pytest.param("import random\nrandom.random()", "take a `Seed`", id="random"),
    pytest.param("from random import choice\nchoice([1])", "take a `Seed`", id="choice"),
    pytest.param("import uuid\nuuid.uuid4()", "take a `Seed`", id="uuid4"),
    pytest.param("print('x')", "log it", id="print"),
    pytest.param("try:\n    f()\nexcept Exception:\n    g()", "catches everything", id="except Exception"),
    pytest.param("try:\n    f()\nexcept (KeyError, Exception):\n    g()", "catches everything", id="except tuple"),
    pytest.param("try:\n    f()\nexcept:\n    g()", "catches everything", id="bare except"),
    pytest.param("import contextlib\nwith contextlib.suppress(Exception):\n    f()", "suppresses", id="suppress"),
    pytest.param("class MachineManager: ...", "`manager` says nothing", id="manager"),
    pytest.param("def get_data() -> None: ...", "`data` says nothing", id="data"),
    pytest.param("class HTTPInfo: ...", "`info` says nothing", id="info"),
    pytest.param("def process(x): ...", "`process` says nothing", id="process"),
    pytest.param("def _handle_event(x): ...", "`handle` says nothing", id="handle"),
    pytest.param("x = 1  # TO" "DO later", "open an issue", id="marker"),
]  # fmt: skip

GOOD = [
    pytest.param('"""D."""\n' + "x = 1\n" * 399, id="module at the limit"),
    pytest.param("def f(self, a, b, c, *, d, e, f): ...", id="self is no parameter"),
    pytest.param("def f(clock):\n    return clock.now(), clock.sleep(1), clock.monotonic()", id="clock"),
    pytest.param("from datetime import datetime\nx = datetime.fromisoformat('')", id="other datetime"),
    pytest.param("from uuid import UUID\nx = UUID(int=1)", id="other uuid"),
    pytest.param("try:\n    f()\nexcept BaseException:\n    g()\n    raise", id="raised again"),
    pytest.param("try:\n    f()\nexcept KeyError:\n    g()", id="named error"),
    pytest.param("class Database: ...\ndef metadata() -> None: ...\ndef processed() -> None: ...", id="whole words"),
]


def bad(text: str, path: str = "engine/domain/snippet.py") -> list[str]:
    """The faults of a snippet that has a docstring."""
    whole = text if text.startswith('"""') else f'"""Why this exists."""\n{textwrap.dedent(text)}\n'
    return faults_in(Source(path=path, text=whole))


@pytest.mark.parametrize(("text", "message"), SNIPPETS)
def test_bad_snippet_is_noticed(text: str, message: str) -> None:
    """Each rule finds exactly one fault in what breaks it, and says what to do."""
    faults = bad(text)
    assert len(faults) == 1, faults
    assert message in faults[0]


@pytest.mark.parametrize("text", GOOD)
def test_good_twin_is_left_alone(text: str) -> None:
    """What only resembles a fault is none."""
    assert bad(text) == []


def test_missing_docstrings_are_noticed() -> None:
    """A module without a docstring, and a test whose docstring is no sentence, are faults."""
    assert "the module has no docstring" in faults_in(Source(path="engine/x.py", text="x = 1\n"))[0]
    assert "no docstring that is a sentence" in bad("def test_x(): ...", "tests/unit/test_x.py")[0]
    assert "no docstring that is a sentence" in bad('def test_x():\n    "no stop"', "tests/unit/test_x.py")[0]
    assert bad('def test_x():\n    """A sentence."""', "tests/unit/test_x.py") == []


def test_exceptions_hold_where_they_are_named_only() -> None:
    """The clock may read time, the seed may draw, and the console may print; their neighbours may not."""
    assert bad("import time\ntime.sleep(1)", "engine/clock.py") == []
    assert bad("import random\nrandom.random()", "engine/simulators/seed.py") == []
    assert bad("print('x')", "engine/console/text.py") == []
    assert bad("try:\n    f()\nexcept Exception:\n    g()", "engine/workflow/runner.py") == []
    assert bad("def handle(request): ...", "engine/simulators/metal/api.py") == []
    assert bad("import time\ntime.sleep(1)", "engine/jobs/clock.py") != []


@pytest.mark.parametrize("source", python_files(), ids=lambda source: source.path)
def test_file_is_tidy(source: Source) -> None:
    """No file of the program, its migrations or its tests breaks a rule."""
    faults = faults_in(source)
    assert not faults, "\n" + "\n".join(faults)
