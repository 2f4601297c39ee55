"""Which engine environment fits this machine, and where downloads are kept."""

from pathlib import Path

import pytest

from infra.devstack.environments import LOCKS, Accelerator, accelerator
from infra.devstack.home import millrace_home


def driver_that(tmp_path: Path, script: str) -> str:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'", Accelerator.GPU),
        ("echo 'No devices were found'", Accelerator.CPU),
        ("echo 'driver mismatch' >&2; exit 9", Accelerator.CPU),
    ],
)
def test_a_gpu_counts_when_its_driver_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: Accelerator
) -> None:
    monkeypatch.setenv("PATH", driver_that(tmp_path, script))
    assert accelerator() is expected


def test_without_a_driver_the_engine_computes_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accelerator() is Accelerator.CPU


@pytest.mark.parametrize("kind", list(Accelerator))
def test_every_package_of_an_engine_lock_is_hashed(kind: Accelerator) -> None:
    lines = (LOCKS / f"vllm-{kind}.txt").read_text().splitlines()
    pinned = [line for line in lines if "==" in line]
    assert pinned
    assert all(line.endswith("\\") for line in pinned)


def test_the_home_folder_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "here"))
    assert millrace_home() == tmp_path / "here"


def test_the_home_folder_is_in_the_users_cache_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert millrace_home() == tmp_path / "millrace"
