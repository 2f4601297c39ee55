"""Settings of a model as the policy of its schedulers."""

from pipeline.settings import Settings
from pipeline.settings.model import ClassSettings, TenantSettings
from processors.policy import ClassPolicy, Policy, TenantPolicy


def policy_of(settings: Settings, model: str) -> Policy:
    """What the schedulers of a model are told."""
    ours = settings.models[model]
    return Policy(
        model=model,
        classes={name: class_policy(settings.classes[name]) for name in ours.classes},
        stable=ours.stable,
        longest_deadline_ms=settings.layout().longest_deadline_ms,
        shards=ours.shards,
        dedupe_window_s=settings.topics.dedupe_window_ms / 1000,
        coalesces=ours.coalesce,
        cache_bytes=ours.cache_mib * 1024 * 1024 // ours.shards,
        hop_s=ours.hop_ms / 1000,
        tenants=tenant_policies(settings),
        texts=settings.text_rules(),
    )


def tenant_policies(settings: Settings) -> dict[str, TenantPolicy]:
    """Weights and limits of the tenants that are configured."""
    return {name: _tenant(tenant) for name, tenant in settings.tenants.items()}


def class_policy(settings: ClassSettings) -> ClassPolicy:
    """A latency class."""
    return ClassPolicy(
        priority=settings.priority,
        deadline_ms=settings.deadline_ms,
        queue_limit=settings.queue_limit,
        yields=not settings.shed,
        ttft_ms=settings.ttft_ms,
        tpot_ms=settings.tpot_ms,
        e2e_ms=settings.e2e_ms,
    )


def _tenant(settings: TenantSettings) -> TenantPolicy:
    return TenantPolicy(
        weight=settings.weight,
        requests_per_s=settings.requests_per_s,
        tokens_per_min=settings.tokens_per_min,
        concurrent=settings.concurrent,
        shares_cache=settings.shares_cache,
    )
