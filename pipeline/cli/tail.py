"""Follow the records of one request on the response topics until it has ended.

Every record is shown with the verdict of the reader rule: those of a worker that lost the request are there and do not
count. It begins with the oldest record that is kept, or with --from-now at the end of the log.
"""

import argparse
import asyncio
from collections.abc import Callable, Iterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import FAILED, OK, reaching_kafka, tell
from pipeline.cli.follow import Follower, Judged
from pipeline.cli.output import emit_json_line, terminal
from pipeline.cli.views.follow import record_line
from pipeline.runtime.reading import Record, begin, existing_partitions, is_read, reader
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_response
from topics.errors import CodecError, TransportError

EXAMPLE = """\
millrace tail order-42
millrace tail order-42 --model smollm2 --json | jq .detail"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request, and from where on."""
    parser.add_argument("id", metavar="ID", help="id of the request")
    parser.add_argument("--model", metavar="M", help="only requests to this model; default: any")
    parser.add_argument("--from-now", action="store_true", help="begin at the end of the log")
    parser.add_argument(
        "--within", metavar="SECONDS", type=float, help="seconds after which to give up; default: never"
    )


def run(args: argparse.Namespace) -> int:
    """Follow it; fails if it has not ended within the time given."""
    settings = settings_of(args)
    show = emit_json_line if args.json else _print_line
    try:
        with reaching_kafka(settings.kafka.brokers):
            asyncio.run(_follow(settings, args, show))
    except TimeoutError:
        tell(f"{args.id} has not ended within {args.within:g} s")
        return FAILED
    return OK


def _print_line(judged: Judged) -> None:
    terminal().print(record_line(judged), soft_wrap=True)


async def _follow(settings: Settings, args: argparse.Namespace, show: Callable[[Judged], None]) -> None:
    """Show the id's records until all its requests have ended and the log, as it was at the start, is read.

    Raises:
        TimeoutError: that took longer than `args.within`.
        TransportError: there is no response topic.
    """
    follower = Follower(args.model)
    async with asyncio.timeout(args.within), reader(settings.kafka, client_id="millrace-tail") as log:
        ends = await _begin(log, settings, from_now=args.from_now)
        while not (follower.has_ended and await is_read(log, ends)):
            for records in (await log.getmany(timeout_ms=200, max_records=2000)).values():
                for judged in judge(follower, args.id, records):
                    show(judged)


def judge(follower: Follower, request_id: str, records: Sequence[Record]) -> Iterator[Judged]:
    """Those of `records` that belong to the request, judged in order."""
    for record in records:
        if record.key != request_id.encode():
            continue
        address = names.origin_of(record.topic, record.partition, record.offset)
        try:
            judged = follower.feed(decode_response(record.value), record=address, at_ms=record.timestamp)
        except CodecError as error:
            tell(f"{address} has the request's id and is {error.message}")
            continue
        if judged is not None:
            yield judged


async def _begin(log: AIOKafkaConsumer, settings: Settings, *, from_now: bool) -> dict[TopicPartition, int]:
    """Take the starting position on every response topic; the ends of the log at this moment."""
    topics = [names.responses_topic(pool) for pool in ("", *settings.topics.pools)]
    partitions = await existing_partitions(log, topics)
    if not partitions:
        raise TransportError(f"Kafka at {settings.kafka.brokers} has no response topic; `millrace topics create`")
    ends = await begin(log, partitions)
    if from_now:
        for partition, end in ends.items():
            log.seek(partition, end)
    return ends
