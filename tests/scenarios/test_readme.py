"""Every command of the README is executed: the sections in order, in one shell, as a newcomer would type them.

The cluster that `millrace up` starts has the simulated engine, by the settings file in the environment: what is tested
are the commands. `make demo` has a test of its own, and this suite is what `make test` runs.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from infra.devstack.home import CHECKOUT, millrace_home

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

README = CHECKOUT / "README.md"
MAKE_ELSEWHERE = {"make demo", "make demo ENGINE=simulated", "make test"}
"""Run by tests/scenarios/test_demo.py, and by whoever runs this."""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Fenced code blocks in order, as (language, content)."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a console block, without their comments."""
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


def as_script(text: str) -> str:
    """One shell script of all blocks, where Python blocks are run by the environment's interpreter."""
    lines = ["set -euo pipefail", "trap '.venv/bin/millrace down || true' EXIT"]
    for language, content in blocks(text):
        if language == "python":
            lines += [".venv/bin/python - <<'PYTHON'", content.rstrip(), "PYTHON"]
        elif language == "console":
            lines += [command for command in commands(content) if command not in MAKE_ELSEWHERE]
    return "\n".join(lines)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in (CHECKOUT / ".ci" / "run").read_text()
    shown = {c for language, b in blocks(README.read_text()) if language == "console" for c in commands(b)}
    assert shown.issuperset(MAKE_ELSEWHERE)


@pytest.fixture
def cluster_name() -> Iterator[str]:
    """Name of a local cluster that nobody else has; what it leaves is removed."""
    name = f"readme-{os.getpid()}"
    yield name
    shutil.rmtree(millrace_home() / "clusters" / name, ignore_errors=True)


def test_commands_of_the_readme_work_in_order(cluster_name: str) -> None:
    environment = {
        **os.environ,
        "MILLRACE_CONFIG": str(CHECKOUT / "infra" / "demo" / "simulated.toml"),
        "MILLRACE_CLUSTER": cluster_name,
    }
    done = subprocess.run(
        ["bash", "-c", as_script(README.read_text())],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert "interactive" in done.stdout
    assert re.search(r"tenant +attempts +gpu_s\n0 +\w+ +[1-9]", done.stdout), "a data frame of the account"
    assert re.search(r"^[1-9]\d* requests$", done.stdout, re.MULTILINE), "a count through SQLAlchemy"
