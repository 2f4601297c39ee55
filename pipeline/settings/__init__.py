"""Settings, resolved once into one immutable value. Components get the slice that concerns them, never the whole."""

from pipeline.settings.model import (
    ClassSettings,
    ClickHouseSettings,
    Deployment,
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
from pipeline.settings.resolve import load, masked

__all__ = [
    "ClassSettings",
    "ClickHouseSettings",
    "Deployment",
    "KafkaSettings",
    "MetricsSettings",
    "ModelSettings",
    "OtelSettings",
    "Settings",
    "SimulatedDeployment",
    "TenantSettings",
    "TopicSettings",
    "TraceSettings",
    "VllmDeployment",
    "load",
    "masked",
]
