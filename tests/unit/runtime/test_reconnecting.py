"""Attempts to reach a broker that is away."""

from typing import Any

from pipeline.runtime.reconnecting import space_attempts


class ClientOf:
    """As much of aiokafka's client as is touched: connects to no node but those in `reachable`, and counts attempts."""

    def __init__(self, *reachable: int) -> None:
        self.reachable = set(reachable)
        self.attempts: list[int] = []
        self._conns: dict[tuple[int, int], str] = {}

    async def _get_conn(self, node_id: int, *, group: int = 0, no_hint: bool = False) -> Any:
        if (node_id, group) not in self._conns:
            self.attempts.append(node_id)
            if node_id not in self.reachable:
                return None
            self._conns[node_id, group] = f"connection {node_id}/{group}"
        return self._conns[node_id, group]


async def test_a_node_that_was_away_is_left_alone_for_a_while() -> None:
    client = ClientOf(2)
    space_attempts(client, rest_s=60)

    assert [await client._get_conn(1) for _ in range(5)] == [None] * 5
    assert await client._get_conn(2) == "connection 2/0"
    assert client.attempts == [1, 2]


async def test_it_is_tried_again_after_that() -> None:
    client = ClientOf()
    space_attempts(client, rest_s=0)

    await client._get_conn(1)
    client.reachable.add(1)

    assert await client._get_conn(1, group=3) == "connection 1/3"
    assert client.attempts == [1, 1]


async def test_a_connection_that_is_open_is_given_at_once() -> None:
    client = ClientOf(1)
    space_attempts(client, rest_s=60)
    await client._get_conn(1)
    client.reachable.clear()

    assert await client._get_conn(1, group=1) is None
    assert await client._get_conn(1) == "connection 1/0"
    assert await client._get_conn(1) == "connection 1/0"
