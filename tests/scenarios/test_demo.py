"""`make demo`, as a newcomer runs it: it ends well, its count is even, and it leaves no process behind."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from infra.devstack.home import CHECKOUT

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]


def _demo(engine: str, home: Path) -> str:
    """Run the demo in a session of its own; its output. Whatever it started is marked by a variable."""
    marked = {**os.environ, "MILLRACE_DEMO_TEST": str(home), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", f"ENGINE={engine}"],
        cwd=CHECKOUT,
        env=marked,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert _left_behind(str(home)) == []
    return done.stdout


def _left_behind(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("MILLRACE_DEMO_TEST") == mark:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_simulated_demo_counts_even(tmp_path: Path) -> None:
    shown = _demo("simulated", tmp_path)
    assert "61 requests produced = 61 terminal records = 61 rows" in shown


@pytest.mark.vllm
def test_demo_answers_in_english_and_counts_even(tmp_path: Path) -> None:
    shown = _demo("vllm", tmp_path)
    assert "Paris" in shown
    assert "61 requests produced = 61 terminal records = 61 rows" in shown
