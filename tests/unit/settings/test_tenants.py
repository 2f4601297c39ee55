"""Tenants in the settings, and what schedulers are told of them."""

import pytest

from pipeline.processor.policies import policy_of
from pipeline.settings import ModelSettings, Settings, SimulatedDeployment, load
from pipeline.settings.checks import check
from pipeline.settings.model import TenantSettings
from processors.policy import EVERY_TENANT, Policy, TenantPolicy
from topics.errors import SettingsError
from topics.texts import TextRules


def policy_with(**tenants: TenantSettings) -> Policy:
    settings = Settings(
        models={"tiny": ModelSettings(stable="tiny@v1")},
        deployments={"tiny@v1": SimulatedDeployment()},
        tenants=tenants,
    )
    check(settings)
    return policy_of(settings, "tiny")


def test_everything_that_is_set_for_a_tenant_reaches_the_scheduler() -> None:
    limits = {"weight": 2.0, "requests_per_s": 5.0, "tokens_per_min": 600, "concurrent": 3, "shares_cache": True}
    assert policy_with(acme=TenantSettings(**limits)).tenant("acme") == TenantPolicy(**limits)  # type: ignore[arg-type]


def test_what_is_kept_of_texts_reaches_scheduler_and_worker() -> None:
    flags = ('tenants.acme.texts="full"', 'tenants."*".texts="none"')
    rules = load(environ={"MILLRACE_HASH_KEY": "hush"}, flags=flags).text_rules()
    assert rules == TextRules(tenants={"acme": "full", "*": "none"}, key="hush")
    assert policy_with(acme=TenantSettings(texts="full")).texts == TextRules(tenants={"acme": "full"})
    assert Settings().text_rules().of("anybody") == "hash"


def test_a_tenant_without_a_section_is_like_every_other() -> None:
    assert policy_with(acme=TenantSettings(weight=2.0)).tenant("globex") == EVERY_TENANT


def test_the_section_for_all_others_is_for_those_without_one_of_their_own() -> None:
    policy = policy_with(**{"acme": TenantSettings(weight=2.0), "*": TenantSettings(concurrent=3)})
    assert policy.tenant("globex").concurrent == 3
    assert policy.tenant("acme").concurrent is None


def test_the_section_for_all_others_can_be_set_by_a_flag() -> None:
    settings = load(environ={}, flags=('tenants."*".requests_per_s=2.5',))
    assert settings.tenants["*"].requests_per_s == 2.5


def test_a_section_that_no_tenant_can_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="'a b', which no tenant can be called"):
        policy_with(**{"a b": TenantSettings()})


@pytest.mark.parametrize("flag", ["weight=0", "requests_per_s=0", "tokens_per_min=0", "concurrent=0"])
def test_a_limit_that_lets_nothing_through_is_refused(flag: str) -> None:
    with pytest.raises(SettingsError, match="tenants"):
        load(environ={}, flags=(f"tenants.acme.{flag}",))
