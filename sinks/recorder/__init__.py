"""The recorder: trace messages from Kafka to rows in ClickHouse, each exactly once."""

from sinks.recorder.recorder import Recorder

__all__ = ["Recorder"]
