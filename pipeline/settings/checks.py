"""What no field of the settings can tell alone: names that refer to each other, options that need each other. Pure."""

from urllib.parse import urlsplit

from pipeline.settings.model import ANY_TENANT, ClassSettings, KafkaSettings, ModelSettings, Settings
from topics import names
from topics.errors import SettingsError
from topics.requests import is_tenant


def check(settings: Settings) -> None:
    """Whether the parts of the settings fit together.

    Raises:
        SettingsError: names the first thing that does not fit.
    """
    _check_names(settings)
    for name, model in settings.models.items():
        _check_model(settings, name, model)
    for name, latency_class in settings.classes.items():
        _check_slo(name, latency_class)
    _check_kafka(settings.kafka)
    url = urlsplit(settings.clickhouse.url)
    if not settings.clickhouse.is_embedded and (url.scheme not in ("http", "https") or not url.hostname):
        shown = without_password(settings.clickhouse.url)
        raise SettingsError(f"clickhouse.url {shown!r} is neither 'embedded' nor an http(s) URL")
    if settings.clickhouse.reader == settings.clickhouse.user:
        raise SettingsError(f"clickhouse.reader and clickhouse.user are both {settings.clickhouse.user!r}; rename one")
    if settings.clickhouse.is_embedded and settings.clickhouse.cluster:
        raise SettingsError("clickhouse.cluster is set, but the embedded engine is one server; set clickhouse.url too")
    receiver = urlsplit(settings.otel.endpoint)
    if settings.otel.endpoint and (receiver.scheme not in ("http", "https") or not receiver.hostname):
        shown = without_password(settings.otel.endpoint)
        raise SettingsError(f"otel.endpoint {shown!r} is no http(s) URL; write e.g. http://collector:4318")


def _check_names(settings: Settings) -> None:
    for word in (*settings.models, *settings.classes, *settings.topics.pools):
        if not names.is_name(word):
            raise SettingsError(f"{word!r} is no name: use lower-case letters, digits and single hyphens")
    for name in settings.deployments:
        if not names.is_name(names.model_of(name)) or not names.is_name(names.version_of(name)):
            raise SettingsError(f"deployment {name!r} is not of the form model@version, e.g. smollm2@v1")
        if names.model_of(name) not in settings.models:
            known = ", ".join(sorted(settings.models)) or "none"
            raise SettingsError(f"deployment {name!r} is of no model of `models`; there are: {known}")
    for name in settings.tenants:
        if name != ANY_TENANT and not is_tenant(name):
            raise SettingsError(
                f"tenants has {name!r}, which no tenant can be called: use letters, digits, '.', '_' and '-', "
                f"or {ANY_TENANT!r} for all that have no section"
            )
    _check_unique("topics.pools", settings.topics.pools)


def _check_model(settings: Settings, name: str, model: ModelSettings) -> None:
    mine = settings.deployments_of(name)
    if model.stable not in mine:
        known = ", ".join(mine) or "none"
        raise SettingsError(f"models.{name}.stable is {model.stable!r}, which is no deployment of it; it has: {known}")
    for latency_class in model.classes:
        if latency_class not in settings.classes:
            known = ", ".join(sorted(settings.classes))
            raise SettingsError(f"models.{name}.classes has {latency_class!r}, which is no class; there are: {known}")
    if not model.classes:
        raise SettingsError(f"models.{name}.classes is empty: no request could reach the model; name one class or more")
    _check_unique(f"models.{name}.classes", model.classes)


def _check_unique(key: str, words: tuple[str, ...]) -> None:
    for word in words:
        if words.count(word) > 1:
            raise SettingsError(f"{key} has {word!r} twice; name it once")


def _check_slo(name: str, latency_class: ClassSettings) -> None:
    streamed = (latency_class.ttft_ms, latency_class.tpot_ms)
    if None in streamed and (latency_class.e2e_ms is None or streamed != (None, None)):
        raise SettingsError(f"classes.{name} states no SLO: set both ttft_ms and tpot_ms, or e2e_ms")


def _check_kafka(kafka: KafkaSettings) -> None:
    if not kafka.brokers.strip():
        raise SettingsError("kafka.brokers is empty; write host:port, several separated by commas")
    if kafka.security_protocol.startswith("SASL") and not (kafka.username and kafka.password):
        raise SettingsError(
            f"kafka.security_protocol {kafka.security_protocol} needs kafka.username and kafka.password "
            "(or $MILLRACE_KAFKA_PASSWORD)"
        )


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    login, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login.partition(':')[0]}:***@{address}").geturl()
