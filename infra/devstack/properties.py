"""The embedded broker's configuration as text: server.properties and the flags of its Java process.

Pure: nothing is read, written or started here. Every deviation from Kafka's defaults has its reason beside it.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """What users of an embedded broker may choose."""

    min_session_timeout_ms: int = 1_000
    """Shortest session a group member may ask for. Kafka's default of 6 s is the floor of every take-over; tests of
    take-overs wait for it, so an embedded broker allows 1 s."""

    heap_mb: int = 320
    """Java heap, of which `young_mb` is the young generation. About 32 MB are live once the log cleaner is small."""

    young_mb: int = 224
    """Large and touched at the start: garbage of records dies young, and pauses fall from 33 to 6 a run."""

    max_record_bytes: int = 4 * 1024 * 1024
    """Largest record batch that the broker takes by default; topics may have their own limit."""

    is_short_lived: bool = True
    """Do without the optimizing compiler, which burns most of a core for the first half minute and makes a record a
    third cheaper after it. False for a broker that carries load for long, as production's do."""

    log_timestamps: bool = False
    """Stamp records with broker time by default, also in topics that do not ask for it."""


def server_properties(settings: BrokerSettings, *, port: int, controller_port: int, data: Path) -> str:
    """The text of server.properties for a single node, broker and controller in one, on 127.0.0.1."""
    listeners = f"PLAINTEXT://127.0.0.1:{port}"
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        # Topics are made on purpose, with the partitions and the retention of the catalogue.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(settings.max_record_bytes),
        "log.message.timestamp.type": "LogAppendTime" if settings.log_timestamps else "CreateTime",
        # One node: internal topics cannot have the three replicas of the defaults, and one partition starts fastest.
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # The first member of a group does not wait 3 s for others.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": str(settings.min_session_timeout_ms),
        # The cleaner's map is 128 MB by default and most of the live heap; see `young_mb`.
        "log.cleaner.dedupe.buffer.size": str(2 * 1024 * 1024),
        # A few clients on a small machine: fewer threads, shorter tails.
        "num.network.threads": "1",
        "num.io.threads": "2",
        "num.recovery.threads.per.data.dir": "1",
        "background.threads": "2",
        # After `kill -9` the controller takes the new broker for the old one's double until the old session ends: 9 s
        # by default. Controller and broker are one process here: a lost heartbeat cannot mean a lost network.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def java_flags(settings: BrokerSettings, *, log_config: Path) -> tuple[str, ...]:
    """Flags of the broker's Java process: short pauses and a quick start rather than the highest throughput."""
    return (
        f"-Xms{settings.heap_mb}m",
        f"-Xmx{settings.heap_mb}m",
        f"-Xmn{settings.young_mb}m",
        "-XX:+UseSerialGC",
        "-XX:+AlwaysPreTouch",  # else the first collection of a fresh young generation takes hundreds of milliseconds
        *(("-XX:TieredStopAtLevel=1",) if settings.is_short_lived else ()),
        *format_flags(log_config=log_config),
    )


def format_flags(*, log_config: Path) -> tuple[str, ...]:
    """Flags of the short Java process that formats a data folder."""
    return (
        f"-Dlog4j2.configurationFile={log_config}",
        "-Djava.net.preferIPv4Stack=true",
        "--enable-native-access=ALL-UNNAMED",  # the compression libraries; Java 25 warns otherwise
    )
