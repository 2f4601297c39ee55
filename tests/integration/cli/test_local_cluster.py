"""The three commands of the README's first minute, on a real cluster with a cost model for an engine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest

from infra.devstack.home import millrace_home

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def name(unique_name: Callable[[str], str]) -> Iterator[str]:
    """Name of a cluster that is stopped and removed at the end."""
    name = unique_name("cli-test")
    try:
        yield name
    finally:
        _millrace("down", "--name", name)
        shutil.rmtree(millrace_home() / "clusters" / name, ignore_errors=True)


def _millrace(*line: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.cli.main", *line]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_CLICK")}
    return subprocess.run(
        command, env={**environ, **variables}, capture_output=True, text=True, timeout=180, check=False
    )


def test_up_ask_account_down(name: str) -> None:
    up = _millrace("up", "--name", name, "--engine", "simulated", "--detach")
    assert up.returncode == 0, up.stderr
    variables = msgspec.json.decode(_millrace("env", "--name", name, "--json").stdout, type=dict[str, str])

    answer = _millrace("ask", "What is the capital of France?", "--max-tokens", "12", **variables)
    doctor = _millrace("doctor", **variables)
    status = msgspec.json.decode(_millrace("status", "--json", **variables).stdout)
    down = _millrace("down", "--name", name)

    assert (answer.returncode, len(answer.stdout.split())) == (0, 12), answer.stderr
    assert doctor.returncode == 0, doctor.stdout
    assert [worker["state"] for worker in status["workers"]] == ["ready"]
    assert status["clickhouse"]["version"] is not None
    assert down.returncode == 0
    assert _millrace("env", "--name", name).returncode == 1
