"""Where a setting comes from, and what a mistake in one is answered with."""

from pathlib import Path

import pytest

from infra.devstack.home import CHECKOUT
from pipeline.settings import Settings, SimulatedDeployment, VllmDeployment, load
from topics.errors import SettingsError

MODEL = """
[models.tiny]
stable = "tiny@v1"

[deployments."tiny@v1"]
engine = "simulated"
"""


def a_file(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def from_text(folder: Path, text: str, *flags: str) -> Settings:
    return load(a_file(folder, text), environ={}, flags=flags)


def refusal(folder: Path, text: str, *flags: str) -> str:
    with pytest.raises(SettingsError) as caught:
        from_text(folder, text, *flags)
    return caught.value.message


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(environ={}, cwd=tmp_path)
    assert settings == Settings()
    assert settings.kafka.brokers == "127.0.0.1:9092"


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({}, (), "file:1"),
        ({"MILLRACE_KAFKA": "env:1"}, (), "env:1"),
        ({"MILLRACE_KAFKA": ""}, (), "file:1"),
        ({"MILLRACE_KAFKA": "env:1"}, ("kafka.brokers=flag:1",), "flag:1"),
        ({}, ("kafka.brokers=first:1", "kafka.brokers=last:1"), "last:1"),
    ],
)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, environ: dict[str, str], flags: tuple[str, ...], expected: str
) -> None:
    path = a_file(tmp_path, '[kafka]\nbrokers = "file:1"')
    assert load(path, environ=environ, flags=flags).kafka.brokers == expected


def test_every_variable_reaches_its_setting(tmp_path: Path) -> None:
    settings = load(
        environ={
            "MILLRACE_KAFKA_PASSWORD": "123",
            "MILLRACE_CLICKHOUSE": "https://ch:8443",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "MILLRACE_CLICKHOUSE_PASSWORD": "456",
        },
        cwd=tmp_path,
    )
    assert settings.kafka.password == "123"
    assert settings.clickhouse.http_url == "https://ch:8443"
    assert settings.clickhouse.password == "456"
    assert settings.otel.endpoint == "http://collector:4318"


def test_a_named_file_wins_over_the_one_of_the_environment_and_that_over_the_folders(tmp_path: Path) -> None:
    for name in ("flag", "env", "millrace"):
        (tmp_path / f"{name}.toml").write_text(f'kafka.brokers = "{name}:1"')
    environ = {"MILLRACE_CONFIG": str(tmp_path / "env.toml")}
    assert load(tmp_path / "flag.toml", environ=environ, cwd=tmp_path).kafka.brokers == "flag:1"
    assert load(environ=environ, cwd=tmp_path).kafka.brokers == "env:1"
    assert load(environ={}, cwd=tmp_path).kafka.brokers == "millrace:1"


@pytest.mark.parametrize(
    ("flag", "key", "near"),
    [
        ("kafka.broker=a:1", "broker", "brokers"),
        ("kafk.brokers=a:1", "kafk", "kafka"),
        ("classes.bulk.prioritiy=1", "prioritiy", "priority"),
        ('deployments."tiny@v1".max_sequence=1', "max_sequence", "max_sequences"),
        ("topics.response_partition=1", "response_partition", "response_partitions"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_is_named(tmp_path: Path, flag: str, key: str, near: str) -> None:
    said = refusal(tmp_path, MODEL, flag)
    assert f"`{key}`" in said
    assert said.endswith(f"did you mean `{near}`?")


def test_the_nearest_key_is_looked_for_in_its_own_section_only(tmp_path: Path) -> None:
    assert "did you mean" not in refusal(tmp_path, "", "kafka.max_sequences=1")


@pytest.mark.parametrize(
    ("flag", "path"),
    [
        ("kafka.replication=zero", "$.kafka.replication"),
        ("kafka.replication=0", "$.kafka.replication"),
        ("kafka.session_timeout_ms=10", "$.kafka.session_timeout_ms"),
        ("kafka.security_protocol=TLS", "$.kafka.security_protocol"),
        ("clickhouse.port=65536", "$.clickhouse.port"),
        ("classes.bulk.priority=101", "$.classes[...].priority"),
        ('deployments."tiny@v1".fail_ratio=1.5', "$.deployments[...].fail_ratio"),
        ('deployments."tiny@v1".engine=magic', "$.deployments[...].engine"),
        ("models.tiny.slots=1.5", "$.models[...].slots"),
        ("tenants.acme.weight=0", "$.tenants[...].weight"),
        ("classes=3", "$.classes"),
        ("classes.bulk=3", "$.classes[...]"),
        ("kafka=3", "$.kafka"),
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_range_is_refused_with_its_place(
    tmp_path: Path, flag: str, path: str
) -> None:
    assert f"`{path}`" in refusal(tmp_path, MODEL, flag)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("kafka.brokers", "has no '='"),
        ("=x", "is no key"),
        ("kafka..brokers=x", "is no key"),
        ('"kafka.brokers=x', "is no key"),
        ("kafka.brokers.first=x", "brokers is a single value"),
    ],
)
def test_a_flag_that_cannot_be_taken_apart_is_refused(tmp_path: Path, flag: str, said: str) -> None:
    assert said in refusal(tmp_path, 'kafka.brokers = "a:1"', flag)


def test_values_of_flags_are_toml_and_bare_words_are_text(tmp_path: Path) -> None:
    settings = from_text(
        tmp_path, MODEL, "kafka.brokers=kafka:9092", "kafka.replication=3", 'models.tiny.classes=["bulk"]'
    )
    assert settings.kafka.brokers == "kafka:9092"
    assert settings.kafka.replication == 3
    assert settings.models["tiny"].classes == ("bulk",)


@pytest.mark.parametrize("key", ['deployments."tiny@v1".max_sequences', "deployments.tiny@v1.max_sequences"])
def test_quotes_around_a_part_of_a_key_are_not_of_its_name(tmp_path: Path, key: str) -> None:
    deployment = from_text(tmp_path, MODEL, f"{key}=7").deployments["tiny@v1"]
    assert isinstance(deployment, SimulatedDeployment)
    assert deployment.max_sequences == 7


def test_quotes_keep_the_dots_of_a_name_together(tmp_path: Path) -> None:
    assert "'tiny@v1.2' is not of the form" in refusal(tmp_path, MODEL, 'deployments."tiny@v1.2".engine="simulated"')


def test_a_deployment_is_of_the_engine_that_it_names(tmp_path: Path) -> None:
    settings = from_text(tmp_path, MODEL, "deployments.tiny@v2.engine=vllm", "deployments.tiny@v2.path=/models/tiny")
    assert settings.deployments["tiny@v2"] == VllmDeployment(path="/models/tiny")
    assert settings.deployments_of("tiny") == ("tiny@v1", "tiny@v2")


@pytest.mark.parametrize("content", [b"kafka = [", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.toml are not valid TOML"):
        load(path, environ={})


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot read settings"):
        load(tmp_path / name, environ={})


SHIPPED = [*sorted((CHECKOUT / "infra" / "demo").glob("*.toml")), *sorted((CHECKOUT / "tests").glob("*/millrace.toml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_settings_file_of_the_checkout_loads(path: Path) -> None:
    settings = load(path, environ={})
    assert len(settings.models) == 1
    assert settings.layout().models[0].deployments == tuple(settings.deployments)


def test_the_files_of_demo_scenarios_and_bench_are_among_them() -> None:
    assert {path.parent.name for path in SHIPPED} >= {"demo", "scenarios", "bench"}
