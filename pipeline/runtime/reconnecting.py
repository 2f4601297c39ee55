"""Attempts to reach a broker that is away, a little apart.

In aiokafka everyone who wants something of a broker tries to connect: fetcher, coordinator, sender, metadata, twenty
times a second each. While a broker starts again, the processes of one machine take the CPU from it that it needs. Here
a client that could not connect reports the node as not ready for a while, without trying. Only this module knows these
insides of aiokafka; the version is pinned.
"""

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, ConnectionGroup

REST_S: Final = 0.25
"""After an attempt that failed; so much longer than needed an outage lasts at most."""


def space_attempts(client: AIOKafkaClient, *, rest_s: float = REST_S) -> None:
    """Let a client rest for `rest_s` seconds after it could not connect to a node. Before it is started."""
    connect = client._get_conn
    rests_until_s: dict[Any, float] = {}

    async def spaced(node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        now = asyncio.get_running_loop().time
        if (node_id, group) not in client._conns and now() < rests_until_s.get(node_id, 0.0):
            return None
        connection = await connect(node_id, group=group, no_hint=no_hint)
        if connection is None:
            rests_until_s[node_id] = now() + rest_s
        return connection

    client._get_conn = spaced
