"""A program that streams and says each delta on stdout: it is there to be killed."""

import sys

from pipeline.client import SyncClient
from pipeline.settings import KafkaSettings


def main(brokers: str, pool: str, model: str) -> None:
    with SyncClient(kafka=KafkaSettings(brokers=brokers), pool=pool) as client:
        for delta in client.stream(model=model, prompt="x", id="order-42"):
            sys.stdout.write(f"{delta.last_seq} {delta.text}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
