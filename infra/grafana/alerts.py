"""Alert rules over the account, for what metrics do not know: quality is judged later, by clients.

Alerts over metrics are Prometheus's (`infra/prometheus/alerts.yml`).
"""

from dataclasses import dataclass
from typing import Any, Final

from infra.grafana.panels import PLUGIN, query_json

SOURCE_UID: Final = "millrace-clickhouse"
_EXPRESSION: Final = "__expr__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule that fires for each row whose number is below a limit.

    Attributes:
        sql: text columns, which become labels, and one number.
        below: the limit.
        window_s: how far back the statement looks.
    """

    uid: str
    title: str
    sql: str
    below: float
    window_s: int
    summary: str
    description: str


ALERTS: Final = (
    Alert(
        uid="millrace-quality-drifts",
        title="Quality of a version falls",
        sql="""
SELECT
    deployment,
    signal,
    (avgIf(score, is_new) - avgIf(score, NOT is_new))
        / sqrt(varSampIf(score, is_new) / countIf(is_new) + varSampIf(score, NOT is_new) / countIf(NOT is_new)) AS drift
FROM (
    SELECT toString(r.deployment) AS deployment, f.signal, f.score, f.ts >= now() - toIntervalHour(12) AS is_new
    FROM feedback AS f
    JOIN requests_final AS r ON r.request_id = f.request_id
    WHERE f.ts >= now() - toIntervalHour(24) AND NOT isNaN(f.score) AND r.request_id IN (
        SELECT request_id FROM feedback WHERE ts >= now() - toIntervalHour(24)
    )
)
GROUP BY deployment, signal
HAVING isFinite(drift)
""".strip(),
        below=-3,
        window_s=86_400,
        summary="{{ $labels.signal }} of {{ $labels.deployment }} fell within the last day",
        description=(
            "The mean score of the last 12 hours is more than three standard errors below that of the 12 before. "
            "millrace sql --query quality_by_version shows both; compare the version's prompts, settings and model."
        ),
    ),
)


def provisioned(alerts: tuple[Alert, ...] = ALERTS) -> dict[str, Any]:
    """The file that Grafana provisions rules from."""
    group = {"orgId": 1, "name": "millrace", "folder": "Millrace", "interval": "10m", "rules": [*map(_rule, alerts)]}
    return {"apiVersion": 1, "groups": [group]}


def _rule(alert: Alert) -> dict[str, Any]:
    source = {"type": PLUGIN, "uid": SOURCE_UID}
    asked = {"datasource": source, **query_json(alert.sql, number=1, query_type="table")}
    limit = {
        "refId": "B",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "lt", "params": [alert.below]}}],
    }
    window = {"from": alert.window_s, "to": 0}
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "B",
        "data": [
            {"refId": "A", "relativeTimeRange": window, "datasourceUid": SOURCE_UID, "model": asked},
            {"refId": "B", "relativeTimeRange": window, "datasourceUid": _EXPRESSION, "model": limit},
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "labels": {"severity": "ticket"},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }
