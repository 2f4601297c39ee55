"""Prompts and answers are kept of a tenant that allows it, and of no other: what is told of theirs shows no word."""

import logging
from collections.abc import Callable

import msgspec
import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import TenantSettings
from tests.eventually import eventually
from tests.integration.sharing.mill import a_mill, running
from tests.unit.worker.builders import a_body
from topics.requests import DEFAULT_TENANT
from topics.texts import TextRules

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

WORD = "quokka"
"""In no text but the prompts."""


async def test_texts_are_kept_of_tenants_that_allow_it_and_of_no_others(
    kafka: KafkaBroker, unique_name: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="pipeline")
    caplog.set_level(logging.DEBUG, logger="processors")
    async with a_mill(kafka.bootstrap, unique_name("m"), slots=1) as mill:
        tenants = {"open": TenantSettings(texts="full"), "silent": TenantSettings(texts="none")}
        mill.settings = msgspec.structs.replace(mill.settings, tenants=tenants)
        body = a_body(content=f"My {WORD}", max_tokens=8, temperature=1)
        async with running(mill):
            names = (DEFAULT_TENANT, "open", "silent")
            origins = [await mill.send(f"r-{name}", body, tenant=name) for name in names]
            await eventually(lambda: mill.ended(*origins), within_s=60)
            await eventually(lambda: all(mill.requests(origin) for origin in origins), within_s=20)
            await eventually(lambda: bool(mill.rows.get("texts")), within_s=20)
    hashed, kept, silent = [mill.requests(origin)[0] for origin in origins]
    columns = TextRules().columns(DEFAULT_TENANT, prompt=f"user: My {WORD}", answer=mill.of(origins[0]).text)
    assert {name: hashed[name] for name in columns._fields} == columns._asdict()
    assert kept["prompt_chars"] == hashed["prompt_chars"] and kept["prompt_hash"] != hashed["prompt_hash"]
    assert [silent[name] for name in columns._fields] == [0, 0, 0, 0]
    ours = [row for row in mill.rows["texts"] if row["model"] == mill.model]
    assert [(row["tenant"], row["prompt"], row["answer"]) for row in ours] == [
        ("open", f"user: My {WORD}", mill.of(origins[1]).text)
    ]
    others = {table: rows for table, rows in mill.rows.items() if table != "texts"}
    assert WORD not in repr(others)
    assert WORD not in caplog.text
