"""Everything that the logs hold of one request, in a file: for whoever looks for the reason of a violation."""

import asyncio
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.runtime.reading import begin, existing_partitions, read_to, reader
from pipeline.settings import Settings
from tests.bench.chaos.judge import Violation
from tests.bench.chaos.users import MODEL
from topics.names import RESPONSES, dispatch_topic, returns_topic

MOST: Final = 20
"""Requests of one run whose records are kept."""


async def keep(settings: Settings, violations: list[Violation], folder: Path) -> list[Path]:
    """Write one file a request, of the first requests with violations; returns their paths."""
    wanted = list(dict.fromkeys(violation.request_id for violation in violations))[:MOST]
    if not wanted:
        return []
    lines: dict[str, list[tuple[int, str]]] = {request_id: [] for request_id in wanted}
    topics = [RESPONSES, dispatch_topic(settings.models[MODEL].stable), returns_topic(MODEL)]
    topics += [f"inference.requests.{MODEL}.{latency_class}" for latency_class in settings.models[MODEL].classes]
    async with reader(settings.kafka, client_id="chaos-evidence") as log:
        await _collect(log, await existing_partitions(log, topics), lines)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    return [_write(folder / f"{request_id}.log", request_id, violations, lines[request_id]) for request_id in wanted]


async def _collect(
    log: AIOKafkaConsumer, places: list[TopicPartition], lines: dict[str, list[tuple[int, str]]]
) -> None:
    needles = {request_id: f'"{request_id}"'.encode() for request_id in lines}
    async for records in read_to(log, await begin(log, places)):
        for record in records:
            where = f"{record.topic}/{record.partition}/{record.offset}"
            is_owner = b'"type":"owner"' in record.value
            for request_id, needle in needles.items():
                if is_owner or needle in record.value:
                    lines[request_id].append((record.timestamp, f"{record.timestamp} {where} {record.value.decode()}"))


def _write(path: Path, request_id: str, violations: list[Violation], lines: list[tuple[int, str]]) -> Path:
    told = [f"# {v.reader} {v.problem}: {v.detail}" for v in violations if v.request_id == request_id]
    path.write_text("\n".join([*told, *(line for _, line in sorted(lines))]) + "\n")
    return path
