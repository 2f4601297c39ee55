"""Parts of the settings that do not fit together are refused; secrets are not shown."""

import json

import pytest

from pipeline.settings import (
    ClassSettings,
    ClickHouseSettings,
    Deployment,
    KafkaSettings,
    ModelSettings,
    OtelSettings,
    Settings,
    SimulatedDeployment,
    TopicSettings,
    TraceSettings,
    load,
    masked,
)
from pipeline.settings.checks import check
from topics.catalogue import Layout, ModelLayout, catalogue
from topics.errors import SettingsError

TINY: dict[str, Deployment] = {"tiny@v1": SimulatedDeployment()}


def a_model(**fields: object) -> dict[str, ModelSettings]:
    return {"tiny": ModelSettings(**{"stable": "tiny@v1", **fields})}  # type: ignore[arg-type]


WRONG = {
    "'Tiny' is no name": Settings(models={"Tiny": ModelSettings(stable="tiny@v1")}),
    "'a.b' is no name": Settings(topics=TopicSettings(pools=("a.b",))),
    "'tiny' is not of the form model@version": Settings(models=a_model(), deployments={"tiny": SimulatedDeployment()}),
    "'huge@v1' is of no model": Settings(models=a_model(), deployments=TINY | {"huge@v1": SimulatedDeployment()}),
    "stable is 'tiny@v1', which is no deployment of it; it has: none": Settings(models=a_model()),
    "stable is 'tiny@v2', which is no deployment of it; it has: tiny@v1": Settings(
        models=a_model(stable="tiny@v2"), deployments=TINY
    ),
    "models.other.stable is 'tiny@v1'": Settings(
        models=a_model() | {"other": ModelSettings(stable="tiny@v1")}, deployments=TINY
    ),
    "'urgent', which is no class; there are: bulk, interactive, realtime": Settings(
        models=a_model(classes=("urgent",)), deployments=TINY
    ),
    "models.tiny.classes is empty": Settings(models=a_model(classes=()), deployments=TINY),
    "models.tiny.classes has 'bulk' twice": Settings(models=a_model(classes=("bulk", "bulk")), deployments=TINY),
    "topics.pools has 'acme' twice": Settings(topics=TopicSettings(pools=("acme", "acme"))),
    "classes.slow states no SLO": Settings(classes={"slow": ClassSettings(priority=1, deadline_ms=1)}),
    "classes.half states no SLO": Settings(classes={"half": ClassSettings(priority=1, deadline_ms=1, ttft_ms=1)}),
    "kafka.brokers is empty": Settings(kafka=KafkaSettings(brokers=" ")),
    "clickhouse.reader and clickhouse.user": Settings(clickhouse=ClickHouseSettings(user="a", reader="a")),
    "SASL_SSL needs kafka.username and kafka.password": Settings(
        kafka=KafkaSettings(security_protocol="SASL_SSL", username="me")
    ),
    "otel.endpoint 'collector:4318' is no http": Settings(otel=OtelSettings(endpoint="collector:4318")),
    "otel.endpoint 'ftp://me:***@c' is no http": Settings(otel=OtelSettings(endpoint="ftp://me:hush@c")),
    "'http://' is neither 'embedded' nor an http": Settings(clickhouse=ClickHouseSettings(url="http://")),
    "'tcp://me:***@ch:9000' is neither": Settings(clickhouse=ClickHouseSettings(url="tcp://me:hush@ch:9000")),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_does_not_fit_is_named(said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check(WRONG[said])
    assert said in caught.value.message


def test_what_fits_is_let_through() -> None:
    check(Settings(models=a_model(), deployments=TINY, kafka=KafkaSettings(brokers="a:1,b:2")))


def test_a_class_that_is_given_the_other_kind_of_slo_loses_its_own() -> None:
    flags = ("classes.realtime.e2e_ms=500", "classes.bulk.ttft_ms=1", "classes.bulk.tpot_ms=2")
    classes = load(environ={}, flags=flags).classes
    assert classes["realtime"] == ClassSettings(priority=0, deadline_ms=10_000, e2e_ms=500)
    assert classes["bulk"] == ClassSettings(priority=3, deadline_ms=86_400_000, ttft_ms=1, tpot_ms=2, shed=False)


def test_a_class_keeps_what_is_not_changed() -> None:
    changed = load(environ={}, flags=("classes.realtime.ttft_ms=150",)).classes
    assert changed == Settings().classes | {
        "realtime": ClassSettings(priority=0, deadline_ms=10_000, ttft_ms=150, tpot_ms=30)
    }


def test_secrets_are_masked_and_the_rest_is_shown() -> None:
    secret = Settings(
        kafka=KafkaSettings(username="me", password="hush", ssl_password="hush"),
        trace=TraceSettings(hash_key="hush"),
        clickhouse=ClickHouseSettings(url="https://me:hush@ch:8443/?a=b", password="hush", reader_password="hush"),
    )
    shown = masked(secret)
    assert "hush" not in json.dumps(shown)
    assert shown["kafka"]["username"] == "me"
    assert shown["kafka"]["password"] == "***"
    assert shown["clickhouse"]["url"] == "https://me:***@ch:8443/?a=b"


def test_a_secret_that_is_not_set_is_shown_as_such() -> None:
    shown = masked(Settings())
    assert shown["kafka"]["password"] is None
    assert shown["clickhouse"]["password"] == ""


def test_the_layout_has_what_the_catalogue_depends_on() -> None:
    settings = Settings(
        models={
            "tiny": ModelSettings(stable="tiny@v1", classes=("bulk",), shards=2, slots=3),
            "ant": ModelSettings(stable="ant@v1"),
        },
        deployments={"tiny@v2": SimulatedDeployment(), "ant@v1": SimulatedDeployment(), **TINY},
        topics=TopicSettings(pools=("acme",), response_partitions=5, trace_partitions=2, dedupe_window_ms=7),
    )
    assert settings.layout() == Layout(
        models=(
            ModelLayout(model="ant", classes=("realtime", "interactive", "bulk"), deployments=("ant@v1",)),
            ModelLayout(model="tiny", classes=("bulk",), deployments=("tiny@v1", "tiny@v2"), shards=2, slots=3),
        ),
        pools=("acme",),
        response_partitions=5,
        trace_partitions=2,
        longest_deadline_ms=86_400_000,
        dedupe_window_ms=7,
    )


def test_topics_are_kept_longer_than_the_longest_deadline_and_the_window_together() -> None:
    settings = load(environ={}, flags=("classes.bulk.deadline_ms=604800000", "topics.dedupe_window_ms=86400000"))
    kept = {topic.name: topic.retention_ms for topic in catalogue(settings.layout())}
    assert kept["inference.responses"] > 604_800_000 + 86_400_000
