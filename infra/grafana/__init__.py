"""Grafana dashboards over the account, as code: `boards` say what is shown, `model` writes Grafana's JSON."""
