"""What the tests of the runtime share: settings of the broker, and brokers to kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import KafkaSettings


@pytest.fixture
def settings(kafka: KafkaBroker) -> KafkaSettings:
    return KafkaSettings(brokers=kafka.bootstrap)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of the test's own, to be killed."""
    broker = KafkaBroker(folder=tmp_path / "kafka", log=tmp_path / "kafka.log")
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
