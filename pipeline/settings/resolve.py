"""Resolving the settings: flag (`--set section.key=value`) > environment > file > default, once.

A key that nobody knows is an error that names the nearest known one.

Environment: `MILLRACE_CONFIG` (path of the file), `MILLRACE_KAFKA` (bootstrap servers), `MILLRACE_CLICKHOUSE` (URL),
`MILLRACE_KAFKA_PASSWORD`, `MILLRACE_CLICKHOUSE_PASSWORD`, `MILLRACE_HASH_KEY` (of hashes of texts);
`OTEL_EXPORTER_OTLP_ENDPOINT` (base URL of an OTLP receiver).
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.settings.checks import check, without_password
from pipeline.settings.model import (
    DEFAULT_CLASSES,
    ClassSettings,
    ClickHouseSettings,
    KafkaSettings,
    MetricsSettings,
    ModelSettings,
    OtelSettings,
    Settings,
    SimulatedDeployment,
    TenantSettings,
    TopicSettings,
    TraceSettings,
    VllmDeployment,
)
from topics.errors import SettingsError

SECRET_FIELDS: Final = frozenset({"password", "reader_password", "ssl_password", "hash_key"})
_PART: Final = re.compile(r'"([^"]+)"|([^."\s]+)')
_KEY: Final = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*")
_SLO: Final = ({"ttft_ms", "tpot_ms"}, {"e2e_ms"})
_ENVIRONMENT: Final = {
    "MILLRACE_KAFKA": "kafka.brokers",
    "MILLRACE_KAFKA_PASSWORD": "kafka.password",
    "MILLRACE_CLICKHOUSE": "clickhouse.url",
    "MILLRACE_CLICKHOUSE_PASSWORD": "clickhouse.password",
    "MILLRACE_HASH_KEY": "trace.hash_key",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "otel.endpoint",
}


def load(
    path: Path | None = None, *, environ: Mapping[str, str], flags: Iterable[str] = (), cwd: Path | None = None
) -> Settings:
    """Resolve the settings.

    Args:
        path: the file; None for `$MILLRACE_CONFIG`, else `millrace.toml` in `cwd` if it is there, else none.
        environ: the environment, read once by the caller.
        flags: `section.key=value` items, TOML values (a bare word is a string).
        cwd: folder in which `millrace.toml` is looked for; the current one by default.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, a value is out of its range, or names do not fit.
    """
    tree = _read(_find(path, environ, cwd or Path()))
    for variable, key in _ENVIRONMENT.items():
        if environ.get(variable):
            _put(tree, key, environ[variable])
    for flag in flags:
        key, found, value = flag.partition("=")
        if not found:
            raise SettingsError(f"--set {flag!r} has no '='; write section.key=value")
        _put(tree, key.strip(), _value(value.strip()))
    settings = _convert(tree)
    check(settings)
    return settings


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values with secrets replaced, to be shown and logged."""
    return {name: _mask(section) for name, section in msgspec.to_builtins(settings).items()}


def _mask(section: Any) -> Any:
    if not isinstance(section, dict):
        return section
    return {name: _mask_value(name, value) for name, value in section.items()}


def _mask_value(name: str, value: Any) -> Any:
    if name in SECRET_FIELDS and value:
        return "***"
    return without_password(value) if name in ("url", "endpoint") else _mask(value)


def _find(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    if path is not None:
        return path
    if environ.get("MILLRACE_CONFIG"):
        return Path(environ["MILLRACE_CONFIG"])
    default = cwd / "millrace.toml"
    return default if default.exists() else None


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings {path} are not valid TOML: {error}") from error


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = _split_key(key)
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{key} cannot be set: {section} is a single value and has no parts")
    tree[last] = value


def _split_key(key: str) -> list[str]:
    """`a."b.c".d` in its parts; quotes keep the dots of a name together."""
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{key!r} is no key; write section.key, and quote a part that has dots")
    return [quoted or plain for quoted, plain in _PART.findall(key)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(tree: dict[str, Any]) -> Settings:
    try:
        return msgspec.convert({**tree, "classes": _classes(tree.get("classes", {}))}, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error))) from error


def _classes(changes: Any) -> Any:
    """The default classes with the changes in them; a class that is given the other kind of SLO loses its own."""
    if not isinstance(changes, dict):
        return changes
    classes: dict[str, Any] = msgspec.to_builtins(DEFAULT_CLASSES)
    for name, change in changes.items():
        default = classes.get(name)
        classes[name] = change if default is None or not isinstance(change, dict) else _changed(default, change)
    return classes


def _changed(default: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    streamed, whole = _SLO
    is_replaced = bool(change.keys() & streamed) != bool(change.keys() & whole)
    dropped = (whole if change.keys() & streamed else streamed) if is_replaced else set()
    return {key: value for key, value in default.items() if key not in dropped} | change


def _explain(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown is None:
        return f"settings: {message}"
    section = re.search(r"at `\$\.(\w+)", message)
    near = difflib.get_close_matches(unknown[1], _known_keys(section[1] if section else ""), n=1)
    return f"settings: {message}" + (f"; did you mean `{near[0]}`?" if near else "")


def _known_keys(section: str) -> list[str]:
    return sorted({field.encode_name for part in _PARTS.get(section, ()) for field in msgspec.structs.fields(part)})


_PARTS: Final[Mapping[str, tuple[type[msgspec.Struct], ...]]] = {
    "": (Settings,),
    "classes": (ClassSettings,),
    "clickhouse": (ClickHouseSettings,),
    "deployments": (VllmDeployment, SimulatedDeployment),
    "kafka": (KafkaSettings,),
    "metrics": (MetricsSettings,),
    "models": (ModelSettings,),
    "tenants": (TenantSettings,),
    "otel": (OtelSettings,),
    "topics": (TopicSettings,),
    "trace": (TraceSettings,),
}
