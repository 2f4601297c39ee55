"""`/metrics` of a whole cluster: every process says what the catalogue says it does, and what has happened."""

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline.client import Client
from pipeline.local import state
from pipeline.local.cluster import LocalCluster
from tests.eventually import eventually
from tests.otlp import receiving
from tests.scenarios.conftest import StartCluster
from topics.measures import Process, measures_of

pytestmark = [pytest.mark.scenario, pytest.mark.slow]

PROCESSES: Mapping[str, Process] = {
    "recorder": "recorder",
    "processor-tiny": "processor",
    "worker-tiny.v1": "worker",
    "otel": "otel",
}
LANE = {"model": "tiny", "latency_class": "interactive"}
WORKER = {"deployment": "tiny@v1", "worker": "worker-tiny.v1"}


async def test_every_process_serves_what_the_catalogue_says(start_cluster: StartCluster) -> None:
    with receiving() as receiver:
        cluster = await asyncio.to_thread(start_cluster, f"otel.endpoint={receiver.url}")
        running = state.read(cluster.folder)
        assert running is not None
        assert running.metrics.keys() == PROCESSES.keys()
        async with Client(kafka=cluster.settings.kafka) as client:
            await client.complete(model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=8)

        await eventually(lambda: _has_told_all(cluster), within_s=20, every_s=0.2)
        for name, process in PROCESSES.items():
            assert set(await _families(cluster, name)) == {measure.name for measure in measures_of(process)}


async def _has_told_all(cluster: LocalCluster) -> bool:
    worker, processor, recorder, otel = [
        await _families(cluster, name) for name in ("worker-tiny.v1", "processor-tiny", "recorder", "otel")
    ]
    assert _value(worker["millrace_requests_total"], **LANE, outcome="completed") == 1
    assert _value(worker["millrace_slo_requests_total"], **LANE) == 1
    assert _value(worker["millrace_tokens_total"], deployment="tiny@v1", direction="out") == 8
    assert _value(worker["millrace_engine_busy_seconds_total"], **WORKER) > 0
    assert _value(worker["millrace_trace_given_up_total"]) == _value(processor["millrace_trace_given_up_total"]) == 0
    assert _value(processor["millrace_queue_depth"], **LANE) == 0
    assert _value(processor["millrace_lane_lag"], **LANE) == 0
    assert _value(processor["millrace_credits"], **WORKER) > 0
    assert 0 <= _value(processor["millrace_heartbeat_age_seconds"], **WORKER) < 3
    assert _value(processor["millrace_latency_model_scale"], deployment="tiny@v1") > 0
    assert _value(processor["millrace_latency_model_error_ratio"], deployment="tiny@v1") >= 0
    assert _value(recorder["millrace_recorder_rows_total"]) > 0
    assert _value(recorder["millrace_recorder_lag"], partition="0") >= 0
    assert _value(otel["millrace_otel_spans_total"]) > 0
    assert _value(otel["millrace_otel_given_up_total"]) == 0
    assert _value(otel["millrace_otel_lag"], partition="0") >= 0
    return True


async def _families(cluster: LocalCluster, name: str) -> dict[str, Metric]:
    async with httpx.AsyncClient() as http:
        answer = await http.get(cluster.metrics[name])
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(answer.text)
    }


def _value(family: Metric, **labels: str) -> float:
    found = [sample.value for sample in family.samples if sample.labels == labels]
    assert len(found) == 1, f"{family.name} has {family.samples}, not one of {labels}"
    return float(found[0])
