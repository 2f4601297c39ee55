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
WITH judged AS (SELECT request_id FROM feedback WHERE ts >= now() - toIntervalHour(24))
SELECT
    deployment,
    signal,
    if(variance > 0, 1 / sqrt(variance * (1 / older_scores + 1 / newer_scores)), 0) * (newer - older) AS drift
FROM (
    SELECT
        deployment,
        signal,
        varSampStable(score) AS variance,
        countIf(NOT is_new) AS older_scores,
        countIf(is_new) AS newer_scores,
        avgIf(score, NOT is_new) AS older,
        avgIf(score, is_new) AS newer
    FROM (
        SELECT
            r.deployment AS deployment,
            f.signal AS signal,
            f.score AS score,
            f.ts >= now() - toIntervalHour(12) AS is_new
        FROM feedback AS f
        JOIN (
            SELECT
                request_id,
                toString(tenant) AS tenant,
                toString(model) AS model,
                argMaxIf(toString(deployment), produced_ts, deployment != '') AS deployment
            FROM requests_final
            WHERE request_id IN (SELECT * FROM judged)
                AND produced_ts IN (SELECT produced_ts FROM requests WHERE request_id IN (SELECT * FROM judged))
            GROUP BY request_id, tenant, model
        ) AS r ON r.request_id = f.request_id
        WHERE f.ts >= now() - toIntervalHour(24) AND NOT isNaN(f.score)
            AND (f.tenant = '' OR f.tenant = r.tenant) AND (f.model = '' OR f.model = r.model)
        QUALIFY count() OVER (PARTITION BY f.kp, f.ko, f.ki) = 1
    )
    GROUP BY deployment, signal
)
WHERE older_scores >= 10 AND newer_scores >= 10
""".strip(),
        below=-3,
        window_s=86_400,
        summary="{{ $labels.signal }} of {{ $labels.deployment }} fell within the last day",
        description=(
            "The mean score of the last 12 hours is more than three standard errors below that of the 12 before, with "
            "ten scores or more in both. millrace sql --query quality_by_version shows both; compare the version's "
            "prompts, settings and model."
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
