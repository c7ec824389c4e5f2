"""`machine-engine simulate metal` serves a Metal API that the real adapter can buy from."""

import re
import socket
import subprocess
import sys
import urllib.request

from engine.simulators.metal import API_KEY, PROJECT_ID


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_simulated_metal_serves_and_ends_cleanly() -> None:
    """The verb prints its address, answers the documented key, shows its faults, and ends with SIGTERM."""
    port = _free_port()
    command = [sys.executable, "-m", "engine", "simulate", "metal", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = next(line for line in process.stdout if str(port) in line)
        address = re.search(r"http://\S+?:\d+", line)
        assert address

        url = f"{address[0]}/metal/v1/projects/{PROJECT_ID}/devices"
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"X-Auth-Token": API_KEY}), timeout=10
        ) as answer:
            assert b'"devices"' in answer.read()
        with urllib.request.urlopen(f"{address[0]}/simulator/faults", timeout=10) as answer:
            assert b"rules" in answer.read()

        process.terminate()
        assert process.wait(timeout=10) == 0
