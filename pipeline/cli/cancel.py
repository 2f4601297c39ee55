"""End a request, wherever it is: in its lane, in a queue or in an engine.

It returns once the cancellation is in the log; the request's terminal record says what came of it (`millrace tail`).
A tenant can end only its own requests.
"""

import argparse
import asyncio

from pipeline.cli.arguments import add_model, model_of, settings_of
from pipeline.cli.failures import OK, reaching_kafka, tell
from pipeline.cli.output import emit_json
from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics import names
from topics.codec import encode
from topics.requests import DEFAULT_TENANT, Cancellation

EXAMPLE = "millrace cancel order-42 --model smollm2 --tenant acme"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request."""
    parser.add_argument("id", metavar="ID", help="id of the request")
    add_model(parser)
    parser.add_argument(
        "--tenant", metavar="T", default=DEFAULT_TENANT, help="whose request it is; default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Put the cancellation into the log."""
    settings = settings_of(args)
    cancellation = Cancellation(id=args.id, model=model_of(args, settings), tenant=args.tenant)
    with reaching_kafka(settings.kafka.brokers):
        origin = asyncio.run(_send(settings.kafka, cancellation))
    if args.json:
        emit_json({"id": cancellation.id, "model": cancellation.model, "tenant": args.tenant, "record": origin})
    else:
        tell(f"asked to end {cancellation.id} of tenant {cancellation.tenant} on {cancellation.model} ({origin})")
    return OK


async def _send(settings: KafkaSettings, cancellation: Cancellation) -> str:
    producer = kafka.producer(settings, client_id="millrace-cancel")
    try:
        await producer.start()
        key = cancellation.id.encode()
        sent = await producer.send_and_wait(names.CANCELLATIONS, encode(cancellation), key=key)
    finally:
        await producer.stop()
    return names.origin_of(sent.topic, sent.partition, sent.offset)
