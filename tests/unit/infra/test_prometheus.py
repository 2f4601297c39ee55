"""Rules and alerts for Prometheus: they are valid, and go by names that processes export."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from topics.measures import BUCKETS, MEASURES

FOLDER = Path(__file__).parents[3] / "infra" / "prometheus"
FILES = ("rules.yml", "alerts.yml")
LABELS: dict[str, set[str]] = {measure.name: set(measure.labels) | {"job", "instance"} for measure in MEASURES}
DURATION = re.compile(r"\d+[smhd]\Z")
TEMPLATE = re.compile(r"\$labels\.(\w+)")
OURS: dict[str, set[str]] = {"up": {"job", "instance"}}


def _rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = {rule["record"] for rule in _rules("rules.yml")}
EVERY = [pytest.param(rule, id=rule.get("alert", rule.get("record"))) for file in FILES for rule in _rules(file)]
ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in _rules("alerts.yml")]


def _selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Every instant vector that an expression reads."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("lhs", "rhs", "expr", "vector_selector", "args", "param"):
        child = getattr(node, part, None)
        for each in child if isinstance(child, list | tuple) else [child]:
            if each is not None and each is not node:
                yield from _selectors(each)


def _measure_of(name: str) -> str:
    base = re.sub(r"_(bucket|sum|count)\Z", "", name)
    return base if base in BUCKETS else name


@pytest.mark.parametrize("rule", EVERY)
def test_an_expression_is_promql_over_names_that_exist(rule: dict[str, Any]) -> None:
    read = {_measure_of(selector.name or "") for selector in _selectors(promql_parser.parse(rule["expr"]))}

    assert read or rule["expr"] == "vector(0.01)"
    assert read <= set(LABELS) | RECORDED | set(OURS)


@pytest.mark.parametrize("rule", EVERY)
def test_an_expression_matches_labels_that_its_measures_have(rule: dict[str, Any]) -> None:
    known = {**LABELS, **OURS}
    asked = {
        (name, matcher.name)
        for selector in _selectors(promql_parser.parse(rule["expr"]))
        for matcher in selector.matchers.matchers
        if (name := _measure_of(selector.name or "")) in known
    }

    assert [(name, label) for name, label in asked if label not in known[name]] == []


@pytest.mark.parametrize("rule", ALERTS)
def test_an_alert_says_who_is_called_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert DURATION.match(rule.get("for", "0s"))


@pytest.mark.parametrize("rule", ALERTS)
def test_an_alert_shows_labels_that_its_expression_has(rule: dict[str, Any]) -> None:
    shown = set(TEMPLATE.findall(" ".join(rule["annotations"].values())))
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
    recorded = {"model", "latency_class"} if "millrace:slo" in rule["expr"] else set()
    plain = {"deployment", "worker", "instance"} if "by (" not in rule["expr"] else set()

    assert shown <= kept | recorded | plain


def test_recorded_and_alerting_names_are_given_once() -> None:
    names = [rule.get("alert", rule.get("record")) for file in FILES for rule in _rules(file)]
    assert len(names) == len(set(names))


def test_the_example_loads_both_files() -> None:
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == list(FILES)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_configuration() -> None:  # pragma: no cover
    checked = subprocess.run(
        ["promtool", "check", "config", str(FOLDER / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
