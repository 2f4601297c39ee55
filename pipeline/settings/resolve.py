"""Resolving the settings: flag (`--set section.key=value`) > environment > file > default, once.

A key that nobody knows is an error that names the nearest known one.

Environment: `MILLRACE_CONFIG` (path of the file), `MILLRACE_KAFKA` (bootstrap servers), `MILLRACE_CLICKHOUSE` (URL),
`MILLRACE_KAFKA_PASSWORD`, `MILLRACE_CLICKHOUSE_PASSWORD`.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from pipeline.settings.model import (
    DEFAULT_CLASSES,
    ClassSettings,
    ClickHouseSettings,
    KafkaSettings,
    ModelSettings,
    Settings,
    SimulatedDeployment,
    TenantSettings,
    TopicSettings,
    VllmDeployment,
)
from topics import names
from topics.errors import SettingsError

SECRET_FIELDS: Final = frozenset({"password", "ssl_password"})
_ENVIRONMENT: Final = {
    "MILLRACE_KAFKA": "kafka.brokers",
    "MILLRACE_KAFKA_PASSWORD": "kafka.password",
    "MILLRACE_CLICKHOUSE": "clickhouse.url",
    "MILLRACE_CLICKHOUSE_PASSWORD": "clickhouse.password",
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
    _check(settings)
    return settings


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values with secrets replaced, to be shown and logged."""
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: _mask(section) for name, section in tree.items()}


def _mask(section: Any) -> Any:
    if not isinstance(section, dict):
        return section
    return {k: "***" if k in SECRET_FIELDS and v else _mask(v) for k, v in section.items()}


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
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read settings {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings {path} are not valid TOML: {error}") from error


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = _split_key(key)
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


def _split_key(key: str) -> list[str]:
    """`a."b.c".d` in its parts; quotes keep the dots of a deployment's name together."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', key)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(tree: dict[str, Any]) -> Settings:
    classes = tree.get("classes", {})
    defaults = msgspec.to_builtins(DEFAULT_CLASSES)
    tree["classes"] = {**defaults, **{k: {**defaults.get(k, {}), **v} for k, v in classes.items()}}
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error))) from error


def _explain(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown is None:
        return f"settings: {message}"
    near = difflib.get_close_matches(unknown[1], sorted(_known_keys()), n=1)
    return f"settings: {message}" + (f"; did you mean `{near[0]}`?" if near else "")


def _known_keys() -> set[str]:
    sections = (
        Settings,
        KafkaSettings,
        ClickHouseSettings,
        ClassSettings,
        VllmDeployment,
        SimulatedDeployment,
        ModelSettings,
        TenantSettings,
        TopicSettings,
    )
    return {field.encode_name for section in sections for field in msgspec.structs.fields(section)}


def _check(settings: Settings) -> None:
    """Names fit together. Raises SettingsError naming the first that does not."""
    for word in (*settings.models, *settings.classes, *settings.topics.pools):
        if not names.is_name(word):
            raise SettingsError(f"{word!r} is no name: use lower-case letters, digits and single hyphens")
    for name in settings.deployments:
        if not names.is_name(names.model_of(name)) or not names.is_name(names.version_of(name)):
            raise SettingsError(f"deployment {name!r} is not of the form model@version, e.g. smollm2@v1")
    for name, model in settings.models.items():
        _check_model(settings, name, model)
    url = urlsplit(settings.clickhouse.url)
    if not settings.clickhouse.is_embedded and url.scheme not in ("http", "https"):
        raise SettingsError(f"clickhouse.url {settings.clickhouse.url!r} is neither 'embedded' nor an http(s) URL")


def _check_model(settings: Settings, name: str, model: ModelSettings) -> None:
    if model.stable not in settings.deployments:
        known = ", ".join(sorted(settings.deployments)) or "none"
        raise SettingsError(f"models.{name}.stable is {model.stable!r}, which is no deployment; there are: {known}")
    for latency_class in model.classes:
        if latency_class not in settings.classes:
            known = ", ".join(sorted(settings.classes))
            raise SettingsError(f"models.{name}.classes has {latency_class!r}, which is no class; there are: {known}")
