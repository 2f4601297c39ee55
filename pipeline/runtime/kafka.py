"""aiokafka clients with the settings that Millrace needs, made in one place.

Producers are idempotent with `acks=all` and wait for nothing (`linger_ms=0`): records batch by themselves while a
request is in flight. Consumers never commit by themselves. Traffic that must not wait for other traffic has a producer
of its own, because aiokafka has one request in flight per broker and producer.
"""

import logging
import ssl
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.runtime.pacing import PacedConsumer
from pipeline.runtime.producers import Producer
from pipeline.runtime.reconnecting import space_attempts
from pipeline.settings import KafkaSettings
from topics.codec import MAX_RECORD_BYTES
from topics.errors import SettingsError

logger = logging.getLogger(__name__)

BATCH_BYTES: Final = 1 << 20
"""Larger than what is in flight per partition: with a full batch every waiting sender is woken per drained batch."""
FETCH_WAIT_MS: Final = 50
"""Long poll of a consumer; a resumed partition is read only after the poll in flight."""


def producer(settings: KafkaSettings, *, client_id: str, linger_ms: int = 0, **options: Any) -> AIOKafkaProducer:
    """An idempotent producer, not started. Must be made inside a running event loop.

    Its records fail only when the broker refuses them, never for the length of an outage; its `stop` gives up after
    5 s when no broker takes what is left.

    Args:
        settings: where the broker is and how to be let in.
        client_id: shows in the broker's logs and quotas.
        linger_ms: how long a record may wait for company.
        options: further options of `AIOKafkaProducer`, which win.
    """
    defaults: dict[str, Any] = {
        "acks": "all",
        "linger_ms": linger_ms,
        "max_batch_size": BATCH_BYTES,
        "max_request_size": MAX_RECORD_BYTES,
        "request_timeout_ms": 40_000,
        "retry_backoff_ms": 50,
    }
    return Producer(client_id=client_id, **{**_connection(settings), **defaults, **options})


def consumer(
    settings: KafkaSettings, *topics: str, group: str | None = None, client_id: str, **options: Any
) -> AIOKafkaConsumer:
    """A consumer that commits only when told, not started. Must be made inside a running event loop.

    Args:
        settings: where the broker is and how to be let in.
        topics: what to subscribe to; none to assign partitions by hand.
        group: consumer group, or None for a plain reader.
        client_id: shows in the broker's logs and quotas.
        options: further options of `AIOKafkaConsumer`, which win.
    """
    defaults: dict[str, Any] = {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": max(settings.session_timeout_ms // 6, 200),
        "max_partition_fetch_bytes": MAX_RECORD_BYTES,
        "retry_backoff_ms": 50,
    }
    made = PacedConsumer(
        *topics, group_id=group, client_id=client_id, **{**_connection(settings), **defaults, **options}
    )
    space_attempts(made._client)
    return made


def admin(settings: KafkaSettings, *, client_id: str = "millrace-admin") -> AIOKafkaAdminClient:
    """An admin client, not started. Must be made inside a running event loop."""
    return AIOKafkaAdminClient(client_id=client_id, **_connection(settings))


def security(settings: KafkaSettings) -> dict[str, Any]:
    """The security options as aiokafka names them; Faust and plain clients are given the same."""
    options: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if "SSL" in settings.security_protocol:
        options["ssl_context"] = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password,
        }
    return options


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """The TLS context of the settings.

    Raises:
        SettingsError: a certificate or key file cannot be loaded.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        if settings.ssl_cert_file:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, settings.ssl_password)
    except OSError as error:
        raise SettingsError(f"kafka TLS files cannot be loaded: {error}; check kafka.ssl_*_file") from error
    return context


def _connection(settings: KafkaSettings) -> dict[str, Any]:
    return {"bootstrap_servers": settings.brokers, **security(settings)}
