"""`make test` answers with the right exit code, whatever was found, built or missing."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import run

PASSED, FAILED, NOTHING_FOUND = 0, 1, 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happened to each part, and how the whole must end."""

    built: int = 0
    fast: int = PASSED
    real: int = PASSED
    ci: str = ""
    expected: int


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(ci="true", expected=0), id="everything passed"),
        pytest.param(Case(fast=FAILED, expected=1), id="a fast test failed"),
        pytest.param(Case(real=FAILED, expected=1), id="a real test failed"),
        pytest.param(Case(real=NOTHING_FOUND, expected=1), id="real tests vanished"),
        pytest.param(Case(built=1, expected=1), id="the build failed"),
        pytest.param(Case(built=3, expected=0), id="no toolchain on somebody's machine"),
        pytest.param(Case(built=3, real=NOTHING_FOUND, expected=0), id="no toolchain and nothing else to run"),
        pytest.param(Case(built=3, fast=FAILED, expected=1), id="no toolchain and a fast test failed"),
        pytest.param(Case(built=3, real=FAILED, expected=1), id="no toolchain and a live test failed"),
        pytest.param(Case(built=3, ci="true", expected=1), id="no toolchain in CI"),
    ],
)
def test_exit_code_says_whether_all_is_well(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a run in which everything that had to run has passed answers 0, and what the build said is shown."""
    build = tmp_path / "build.py"
    build.write_text(f"import sys; print('[1/1] etcd … 2 s'); sys.exit({case.built})", "utf-8")
    asked: list[str] = []
    answers = [case.fast, case.real]

    def pytest_stub(markers: str, *_: str) -> int:
        asked.append(markers)
        return answers.pop(0)

    monkeypatch.setattr(run, "BUILD", build)
    monkeypatch.setattr(run, "_pytest", pytest_stub)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.01)
    monkeypatch.setenv("CI", case.ci)

    code = run.main()

    said = capsys.readouterr().out
    assert code == case.expected
    assert "[1/1] etcd … 2 s" in said
    assert said.count("SKIPPED") == (case.built == run.BUILD_HAS_NO_TOOLCHAIN)
    assert asked == [run.FAST, run.REAL if case.built == 0 else run.REAL_WITHOUT_PLANE]
