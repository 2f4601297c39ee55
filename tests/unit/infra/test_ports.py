"""Ports that nobody else gets."""

import socket
from collections.abc import Iterator

import pytest

from infra.devstack import ports
from infra.devstack.ports import Ports, is_listening, port_range


@pytest.fixture
def owner() -> Iterator[Ports]:
    claimed = Ports()
    yield claimed
    claimed.release()


def test_two_owners_never_get_the_same_port(owner: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = port_range()
    monkeypatch.setattr(ports, "port_range", lambda: (first, first + 64))
    other = Ports()
    mine = {owner.claim() for _ in range(8)}
    theirs = {other.claim() for _ in range(8)}
    other.release()
    assert len(mine | theirs) == 16


def test_a_port_that_somebody_listens_on_is_not_given_out(owner: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    port = owner.claim()
    owner.release()
    monkeypatch.setattr(ports, "port_range", lambda: (port, port + 1))
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match=f"no free TCP port in {port}"):
        owner.claim()


def test_a_released_port_can_be_claimed_again(owner: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    port = owner.claim()
    owner.release()
    monkeypatch.setattr(ports, "port_range", lambda: (port, port + 1))
    assert owner.claim() == port


def test_ports_lie_below_the_range_of_outgoing_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        first, end = port_range()
        assert not first <= client.getsockname()[1] < end


def test_listening_is_seen_from_outside(owner: Ports) -> None:
    port = owner.claim()
    assert not is_listening(port)
    with socket.create_server(("127.0.0.1", port)):
        assert is_listening(port)
