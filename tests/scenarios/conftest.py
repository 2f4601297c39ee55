"""Clusters for scenarios: every process real and killable, the engine simulated."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.local.cluster import LocalCluster
from pipeline.local.plan import Size

CONFIG = Path(__file__).with_name("millrace.toml")
StartCluster = Callable[..., LocalCluster]


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """`start_cluster(*flags, size=Size(...))` starts a cluster of its own; it is stopped when the test ends."""
    with ExitStack() as stack:

        def start(*flags: str, size: Size | None = None) -> LocalCluster:
            cluster = LocalCluster(folder=tmp_path / "cluster", config=CONFIG, flags=flags, size=size)
            stack.callback(cluster.stop)
            cluster.start()
            return cluster

        yield start
