"""A ClickHouse client for whoever asks the account: the CLI, a notebook, a test. The recorder does not use it."""

from typing import Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from topics.errors import TransportError

CONNECT_S: Final = 5
ANSWER_S: Final = 60
_PORTS: Final = {"http": 8123, "https": 8443}


def connect(url: str, user: str, password: str, database: str) -> Client:
    """A connected client; close it after use.

    Args:
        url: `http://host[:port]` or `https://host[:port]`.
        user: who asks.
        password: may be empty.
        database: where statements without one look, usually `trace`.

    Raises:
        TransportError: nobody answers, or the user is not let in.
    """
    address = urlsplit(url)
    try:
        return clickhouse_connect.get_client(
            host=address.hostname or "127.0.0.1",
            port=address.port or _PORTS.get(address.scheme, 8123),
            secure=address.scheme == "https",
            username=user,
            password=password,
            database=database,
            connect_timeout=CONNECT_S,
            send_receive_timeout=ANSWER_S,
        )
    except (ClickHouseError, OSError) as error:
        raise TransportError(f"cannot use ClickHouse at {url} as {user}, database {database}: {error}") from error
