"""The plain consumers of `topics/README.md` and the reader rule, on the same random logs of one response partition.

Each log ends with one terminal for every state that a reader may be in: the one that it accepts tells which attempt is
current and how many tokens it has.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from pipeline.runtime import topics
from pipeline.settings import KafkaSettings
from tests.integration.client.documented import Ended, compiled_java, java_answers, python_answers
from tests.properties.log_model_world import lived
from topics import names
from topics.catalogue import Layout, catalogue
from topics.codec import decode_response, encode
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Progress, Rejected, Response, Started

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ANY_LOGS, WORLDS, WORLD_BYTES = 400, 100, 600
ATTEMPTS = ("a", "b", "c")
END = "end/0/0"


def _any_record(rng: random.Random) -> Response:
    """Any record at all, as a broken pipeline might write it."""
    attempt, tokens = rng.choice(ATTEMPTS), [rng.randrange(10) for _ in range(rng.choice((0, 1, 1, 2)))]
    match rng.randrange(8):
        case 0 | 1 | 2:
            return Started(
                id="r",
                origin="",
                attempt=attempt,
                mode=rng.choice(("fresh", "resume", "restart")),
                hop=rng.randrange(3),
                dispatch=rng.choice(("d/0/1", "d/1/1")),
                term=rng.randrange(3),
                deployment="m@v1",
            )
        case 3 | 4 | 5:
            text = f"{attempt}{rng.randrange(1000)}é\U0001f600 "
            return Delta(id="r", origin="", attempt=attempt, seq=rng.randrange(4), text=text, token_ids=tokens)
        case 6:
            return Progress(id="r", origin="", attempt=attempt, seq=rng.randrange(4), token_ids=tokens)
        case _:
            return _completed(attempt, rng.randrange(6))


def _completed(attempt: str, next_seq: int) -> Response:
    return Completed(id="r", origin="", attempt=attempt, next_seq=next_seq, finish_reason="stop")


def _any_log(rng: random.Random) -> list[Response]:
    log = [_any_record(rng) for _ in range(rng.randrange(20))]
    probes = [_completed(attempt, seq) for attempt in ATTEMPTS for seq in range(40)]
    return [*log, Rejected(id="r", origin=""), *probes]


def _world_log(rng: random.Random) -> list[Response]:
    """What workers that take over from each other write."""
    return lived(rng.randbytes(WORLD_BYTES), only_owners=True).replies


def _interleaved(rng: random.Random, logs: Iterable[list[Response]]) -> Iterator[Response]:
    """The records of all logs, each in its own order, with an origin of its own; then one that ends it all."""
    rest = [iter(_of(log, f"log/0/{n}")) for n, log in enumerate(logs)]
    while rest:
        log = rng.choice(rest)
        record = next(log, None)
        if record is None:
            rest.remove(log)
        else:
            yield record
    yield Rejected(id="r", origin=END)


def _of(log: Iterable[Response], origin: str) -> Iterator[Response]:
    return (msgspec.structs.replace(record, origin=origin) for record in log)


def _by_the_rule(values: Iterable[bytes]) -> list[Ended]:
    """What the rule accepts, in the form in which the plain consumers tell it."""
    readers: dict[str, Reader] = {}
    texts: dict[str, str] = {}
    ended: list[Ended] = []
    for value in values:
        record = decode_response(value)
        verdict = readers.setdefault(record.origin, Reader()).feed(record)
        if verdict is Verdict.RESTARTED:
            texts[record.origin] = ""
        elif verdict is Verdict.DELIVERED and isinstance(record, Delta):
            texts[record.origin] = texts.get(record.origin, "") + record.text
        elif verdict is Verdict.ENDED:
            ended.append((record.origin, texts.get(record.origin, ""), msgspec.json.decode(value)))
    return ended


def _up_to_the_end(answers: Iterator[Ended]) -> list[Ended]:
    return [*itertools.takewhile(lambda ended: ended[0] != END, answers)]


async def _topic(settings: KafkaSettings, pool: str, values: Iterable[bytes]) -> str:
    """A response topic of one partition that holds the values."""
    name = names.responses_topic(pool)
    layout = Layout(models=(), pools=(pool,), response_partitions=1)
    await topics.create(settings, tuple(topic for topic in catalogue(layout) if topic.name == name))
    producer = clients.producer(settings, client_id="test")
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(name, value, partition=0) for value in values])
    finally:
        await producer.stop()
    return name


@pytest.mark.parametrize("seed", [1, 2])
async def test_plain_consumers_agree_with_the_reader_rule(
    kafka: KafkaBroker, unique_name: Callable[[str], str], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    logs = [*(_any_log(rng) for _ in range(ANY_LOGS)), *(_world_log(rng) for _ in range(WORLDS))]
    values = [encode(record) for record in _interleaved(rng, logs)]
    topic = await _topic(KafkaSettings(brokers=kafka.bootstrap), unique_name("pool"), values)

    def in_java() -> list[Ended]:
        with java_answers(compiled_java(tmp_path), kafka.bootstrap, topic, 0) as answers:
            return _up_to_the_end(answers)

    by_the_rule = _up_to_the_end(iter(_by_the_rule(values)))
    in_python = await asyncio.to_thread(lambda: _up_to_the_end(python_answers()(kafka.bootstrap, topic, 0)))

    assert len(by_the_rule) == ANY_LOGS + WORLDS
    assert in_python == by_the_rule
    assert await asyncio.to_thread(in_java) == by_the_rule
