"""A scripted pipeline and a client that talks to it, on names that no other test has."""

from collections.abc import AsyncIterator, Callable

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.client import Client
from pipeline.settings import KafkaSettings
from tests.integration.client.responder import Responder


@pytest.fixture
async def responder(kafka: KafkaBroker, unique_name: Callable[[str], str]) -> AsyncIterator[Responder]:
    settings = KafkaSettings(brokers=kafka.bootstrap)
    async with Responder(settings, model=unique_name("model"), pool=unique_name("pool")) as responder:
        yield responder


@pytest.fixture
async def client(responder: Responder) -> AsyncIterator[Client]:
    async with Client(kafka=responder.settings, pool=responder.pool, tenant="acme") as client:
        yield client
