"""A generated account, served by one process for all tests of this folder."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import connect
from tests.account_data import Account, an_account
from tests.account_server import DATABASE, serving

REQUESTS = 800
MINUTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An account's rows, and where they are served."""

    url: str
    rows: Account


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ends_us = int(time.time()) * 1_000_000
    rows = an_account(requests=REQUESTS, minutes=MINUTES, ends_us=ends_us)
    folder = tmp_path_factory.mktemp("pages")
    with serving(folder, requests=REQUESTS, minutes=MINUTES, ends_us=ends_us) as url:
        yield Served(url=url, rows=rows)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    client = connect(served.url, "default", "", DATABASE)
    yield client
    client.close()
