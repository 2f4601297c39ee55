"""What every kind of test may use: one real broker for the whole run, and names that nobody else has."""

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from infra.devstack.kafka import KafkaBroker

_serial = itertools.count()

# Whoever starts several test processes may tell them the size of a terminal that none of them has.
for variable in ("COLUMNS", "LINES"):
    os.environ.pop(variable, None)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real single-node Kafka, started when the first test asks for it; `.bootstrap` is its address.

    It is shared: tests take topics and groups of their own by `unique_name`, and none stops it. A test that needs a
    broker to kill starts its own.
    """
    folder = tmp_path_factory.mktemp("kafka")
    broker = KafkaBroker(folder=folder, log=folder / "kafka.log")
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """`unique_name("orders")` is a name for a topic, group or model that no other test of any run has: `[a-z0-9-]+`."""
    return lambda stem: f"{stem}-{os.getpid():x}-{next(_serial):x}"
