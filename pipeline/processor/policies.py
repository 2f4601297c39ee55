"""Settings of a model as the policy of its schedulers."""

from pipeline.settings import Settings
from processors.policy import ClassPolicy, Policy, TenantPolicy


def policy_of(settings: Settings, model: str) -> Policy:
    """What the schedulers of a model are told."""
    ours = settings.models[model]
    classes = {name: settings.classes[name] for name in ours.classes}
    return Policy(
        model=model,
        classes={
            name: ClassPolicy(
                priority=c.priority,
                deadline_ms=c.deadline_ms,
                queue_limit=c.queue_limit,
                yields=not c.shed,
                ttft_ms=c.ttft_ms,
                tpot_ms=c.tpot_ms,
                e2e_ms=c.e2e_ms,
            )
            for name, c in classes.items()
        },
        stable=ours.stable,
        longest_deadline_ms=settings.layout().longest_deadline_ms,
        shards=ours.shards,
        tenants={name: TenantPolicy(weight=tenant.weight) for name, tenant in settings.tenants.items()},
    )
