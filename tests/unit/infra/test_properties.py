"""The embedded broker's configuration as text."""

from pathlib import Path

import pytest

from infra.devstack.properties import BrokerSettings, java_flags, server_properties


def properties(settings: BrokerSettings | None = None) -> dict[str, str]:
    text = server_properties(settings or BrokerSettings(), port=20_001, controller_port=20_002, data=Path("/data/k"))
    return dict(line.split("=", 1) for line in text.splitlines())


def test_clients_are_sent_to_the_port_that_the_broker_listens_on() -> None:
    assert properties()["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert properties()["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"


def test_the_only_node_is_the_whole_quorum() -> None:
    assert properties()["controller.quorum.voters"] == f"{properties()['node.id']}@127.0.0.1:20002"


@pytest.mark.parametrize("kind", ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"])
def test_internal_topics_fit_on_one_node(kind: str) -> None:
    assert properties()[f"{kind}.replication.factor"] == "1"
    assert properties()[f"{kind}.num.partitions"] == "1"


def test_topics_are_never_made_by_a_typing_error() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_the_shortest_session_is_chosen_by_the_caller() -> None:
    assert properties(BrokerSettings(min_session_timeout_ms=300))["group.min.session.timeout.ms"] == "300"


def test_the_young_generation_is_most_of_the_heap_and_touched_at_the_start() -> None:
    flags = java_flags(BrokerSettings(heap_mb=400, young_mb=300), log_config=Path("/log4j2.properties"))
    assert {"-Xms400m", "-Xmx400m", "-Xmn300m", "-XX:+AlwaysPreTouch"} <= set(flags)


def test_a_broker_that_lives_long_gets_the_optimizing_compiler() -> None:
    def compilers(settings: BrokerSettings) -> list[str]:
        flags = java_flags(settings, log_config=Path("/log4j2.properties"))
        return [flag for flag in flags if "TieredStopAtLevel" in flag]

    assert compilers(BrokerSettings()) == ["-XX:TieredStopAtLevel=1"]
    assert compilers(BrokerSettings(is_short_lived=False)) == []
