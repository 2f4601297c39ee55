"""The README's production block, command by command, against a broker and a ClickHouse that were there before.

The cluster's addresses come from the environment alone. The engine is simulated; its worker runs in the engine's own
environment, as the README says, and ClickHouse is a server of its own that is reached over HTTP.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devstack.home import CHECKOUT
from infra.devstack.readiness import answers_ok
from infra.devstack.stack import Stack
from pipeline.runtime.process import READY_FILE

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

SERVES = ("millrace recorder", "millrace processor", ".venv-vllm/bin/python -m pipeline.worker")


def production_commands() -> list[str]:
    """Commands of the README's `sh` block in their order, without its exports and comments."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("export ")]


@pytest.fixture
def stack() -> Iterator[Stack]:
    """What was there before: a broker and a ClickHouse server."""
    with Stack() as stack:
        yield stack


def _environment(stack: Stack) -> dict[str, str]:
    port = stack.port()
    server = (sys.executable, "-m", "sinks.clickhouse.http", "--path", str(stack.data / "server"), "--port", str(port))
    stack.start("clickhouse", server, ready=answers_ok(f"http://127.0.0.1:{port}/ping"))
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MILLRACE_CONFIG": str(CHECKOUT / "infra" / "demo" / "simulated.toml"),
        "MILLRACE_KAFKA": stack.kafka().bootstrap,
        "MILLRACE_CLICKHOUSE": f"http://127.0.0.1:{port}",
    }


def _serve(stack: Stack, command: str, environment: dict[str, str], number: int) -> None:
    ready = stack.folder / f"ready-{number}"
    stack.start(
        f"process-{number}",
        command.split(),
        env={**environment, READY_FILE: str(ready)},
        ready=lambda _: ready.exists(),
        cwd=CHECKOUT,
    )


def _run(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command.replace("status --watch", "status")],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_production_commands_of_the_readme_make_a_pipeline(stack: Stack) -> None:
    environment = _environment(stack)
    commands = production_commands()
    assert sum(command.startswith(SERVES) for command in commands) == len(SERVES)

    for number, command in enumerate(commands):
        if command.startswith(SERVES):
            _serve(stack, command, environment, number)
        else:
            _run(command, environment)

    answer = _run('millrace ask "What is the capital of France?" --model smollm2 --max-tokens 8', environment)
    assert len(answer.split()) == 8
