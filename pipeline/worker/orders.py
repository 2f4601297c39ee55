"""What operators want of this worker: drains on the control topic, which every process reads whole.

An order is meant for one start of a worker, so one that lies there from an earlier start does nothing.
"""

from collections.abc import Callable
from typing import Any, Final

from aiokafka import ConsumerRecord

from pipeline.runtime.broadcasts import BroadcastReader
from pipeline.settings import KafkaSettings
from pipeline.worker.effects import Leave
from pipeline.worker.rows import Identity
from topics import names
from topics.codec import decode_control
from topics.control import Drain

FETCH_WAIT_MS: Final = 250
"""How long the broker holds a fetch while there is nothing: it answers at once when an order comes."""


def orders(settings: KafkaSettings, identity: Identity, obey: Callable[[Leave], None]) -> BroadcastReader:
    """A reader, not started, that calls `obey` for a drain of this start of this worker."""

    def on_record(record: ConsumerRecord[Any, Any]) -> None:
        if record.value is None:
            return
        said = decode_control(record.value)
        if isinstance(said, Drain) and (said.worker, said.run) == (identity.worker, identity.run):
            obey(Leave(grace_s=said.grace_ms / 1000, reason="it was told to drain"))

    client_id = f"millrace-worker-{identity.worker}-orders"
    return BroadcastReader(
        settings, (names.CONTROL,), on_record, client_id=client_id, start="earliest", fetch_wait_ms=FETCH_WAIT_MS
    )
