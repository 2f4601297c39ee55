"""The golden records: what clients in other languages are written against."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import topics
from topics import codec

FOLDER = Path(topics.__file__).parent / "examples"

Decode = Callable[[bytes], Any]
DECODERS: dict[str, Decode] = {
    "request": codec.decode_request,
    "cancellation": codec.decode_cancellation,
    "dispatch": codec.decode_slot_record,
    "attached": codec.decode_slot_record,
    "owner": codec.decode_slot_record,
    "cancel": codec.decode_slot_record,
    "return": codec.decode_return,
    "started": codec.decode_response,
    "delta": codec.decode_response,
    "progress": codec.decode_response,
    "completed": codec.decode_response,
    "failed": codec.decode_response,
    "rejected": codec.decode_response,
    "expired": codec.decode_response,
    "cancelled": codec.decode_response,
    "heartbeat": codec.decode_heartbeat,
    "lanes": codec.decode_workers_record,
    "feedback": codec.decode_feedback,
    "deployment": codec.decode_control,
    "rollout": codec.decode_control,
    "drain": codec.decode_control,
}


def test_every_record_type_has_an_example() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(DECODERS)


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_an_example_is_encoded_again_as_it_was(name: str) -> None:
    value = (FOLDER / f"{name}.json").read_bytes()
    record = DECODERS[name](value)
    assert json.loads(codec.encode(record)) == json.loads(value)


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_fields_of_a_newer_version_are_ignored(name: str) -> None:
    fields = json.loads((FOLDER / f"{name}.json").read_bytes())
    newer = {**fields, "v": 2, "field_of_version_2": {"a": [1]}}
    record = DECODERS[name](json.dumps(newer).encode())
    assert json.loads(codec.encode(record)) == {**fields, "v": 2}


@pytest.mark.parametrize("name", ["started", "delta", "progress", "completed", "rejected"])
def test_a_response_example_says_its_type_and_its_request(name: str) -> None:
    fields = json.loads((FOLDER / f"{name}.json").read_bytes())
    assert (fields["type"], fields["id"]) == (name, "order-42")
    assert fields["origin"].startswith("inference.requests.smollm2.interactive/")
