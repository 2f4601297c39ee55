import argparse

import pytest

from pipeline.cli.arguments import model_of, positive
from pipeline.settings import Settings, load
from topics.errors import SettingsError

TWO_MODELS = (
    'models.a.stable="a@v1"',
    'deployments."a@v1".engine=simulated',
    'models.b.stable="b@v1"',
    'deployments."b@v1".engine=simulated',
)


def _settings(*flags: str) -> Settings:
    return load(environ={}, flags=flags)


def test_the_only_model_of_the_settings_need_not_be_named() -> None:
    assert model_of(argparse.Namespace(model=None), _settings(*TWO_MODELS[:2])) == "a"


def test_of_several_models_one_has_to_be_named() -> None:
    with pytest.raises(SettingsError, match=r"name it with --model; the settings have: a, b"):
        model_of(argparse.Namespace(model=None), _settings(*TWO_MODELS))


def test_a_client_may_name_a_model_that_its_settings_do_not_have() -> None:
    assert model_of(argparse.Namespace(model="elsewhere"), _settings()) == "elsewhere"


def test_a_model_is_a_name() -> None:
    with pytest.raises(SettingsError, match="is no name"):
        model_of(argparse.Namespace(model="Not A Name"), _settings())


def test_positive_refuses_zero() -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive("0")
