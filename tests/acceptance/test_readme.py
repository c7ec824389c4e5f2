"""The README is a promise: every command in it is run by a test, or stands here with the test that runs it."""

import re
from pathlib import Path

import pytest

_README = Path(__file__).parents[2] / "README.md"
_EXECUTED = {
    r"make start": "test_demo.py starts the demo world through the Makefile",
    r"make test": "this very run, and .ci/run",
    r"make start TARGET_KUBECONFIG=\S+ CONTROL_KUBECONFIG=\S+ CONTROL_NAMESPACE=\S+": "test_user_path.py",
    r"kubectl apply -f kubernetes/(crds/|machine-class.yaml|secret.yaml|machines/)": "test_user_path.py",
    r"kubectl (apply|delete) -f kubernetes/machine-deployment.yaml": "test_mcm.py",
    r"kubectl delete -f kubernetes/machines/": "test_user_path.py",
    r"kubectl get machines": "test_user_path.py",
    r".venv/bin/machine-engine machines": "test_user_path.py",
    r".venv/bin/machine-engine (show|history) plain-1": "test_user_path.py",
    r".venv/bin/machine-engine simulate metal --port 8090": "test_simulate.py",
    r".venv/bin/machine-engine simulate world --seed 7 --steps 150": "tests/simulation/test_trial.py",
    r".venv/bin/machine-engine simulate power-cuts --seed 7 --steps 30": "tests/simulation/test_trial.py",
}


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", _README.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.mark.parametrize("command", _commands())
def test_command_of_the_readme_is_run_by_a_test(command: str) -> None:
    """Each command line of the README is of a form that a named test executes."""
    assert any(re.fullmatch(form, command) for form in _EXECUTED), f"no test runs: {command}"


def test_no_form_is_kept_for_a_command_that_is_gone() -> None:
    """Each form stands for at least one command of the README."""
    unused = [form for form in _EXECUTED if not any(re.fullmatch(form, command) for command in _commands())]

    assert unused == []
