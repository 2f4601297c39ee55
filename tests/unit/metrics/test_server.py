"""`/metrics` as Prometheus reads it."""

import asyncio
from contextlib import AsyncExitStack
from typing import get_args

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics.process import serve, tally_of
from pipeline.metrics.rows import RowTally
from pipeline.metrics.server import MetricsServer
from pipeline.metrics.tally import Tally
from pipeline.settings import MetricsSettings, Settings
from tests.unit.metrics.rows import a_batch, a_request, a_second_of_steps, an_event
from topics.errors import SettingsError
from topics.measures import Process, measures_of

ROWS = (a_request(), a_batch(), a_second_of_steps(), an_event("attempt.started", deployment="m@v1", reason="resume"))
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


async def scraped(process: Process, accept: str = "text/plain") -> httpx.Response:
    tally = Tally(process)
    RowTally(tally, {})(ROWS)
    async with MetricsServer(tally, host="127.0.0.1", port=0) as server, httpx.AsyncClient() as http:
        return await http.get(server.url, headers={"Accept": accept})


@pytest.mark.parametrize("process", get_args(Process))
async def test_a_process_exports_the_names_of_the_catalogue_and_no_others(process: Process) -> None:
    answer = await scraped(process)
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(answer.text)
    }
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found == {measure.name for measure in measures_of(process)}


@pytest.mark.parametrize("process", get_args(Process))
async def test_a_series_has_the_labels_of_the_catalogue(process: Process) -> None:
    labels = {measure.name: set(measure.labels) for measure in measures_of(process)}
    families = list(text_string_to_metric_families((await scraped(process)).text))
    series = [
        (f"{family.name}_total" if family.type == "counter" else family.name, set(sample.labels) - {"le"})
        for family in families
        for sample in family.samples
    ]
    assert series or process in ("recorder", "otel")
    assert [(name, has) for name, has in series if labels[name] != has] == []  # type: ignore[index]


async def test_openmetrics_is_spoken_to_those_who_ask() -> None:
    answer = await scraped("worker", OPENMETRICS)
    read = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in read}
    (count,) = [s for s in families["millrace_request_seconds"].samples if s.name.endswith("_count")]
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert count.value == 1


async def test_a_source_that_fails_fails_the_scrape_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally("worker")
    tally.ask("millrace_running", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    async with MetricsServer(tally, host="127.0.0.1", port=0) as server, httpx.AsyncClient() as http:
        assert (await http.get(server.url)).status_code == 500


async def test_a_taken_port_is_told() -> None:
    tally = Tally("worker")
    async with MetricsServer(tally, host="127.0.0.1", port=0) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(SettingsError, match=r"set metrics\.port"):
            await MetricsServer(tally, host="127.0.0.1", port=port).start()


async def test_nothing_is_counted_or_served_where_no_port_is_set() -> None:
    assert tally_of(Settings(), "worker") is None
    async with AsyncExitStack() as stack:
        await serve(MetricsSettings(), Tally("worker"), stack)
        assert asyncio.all_tasks() == {asyncio.current_task()}
