from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.settings import load, masked
from pipeline.settings.toml import dumps

CONFIG = Path(__file__).parents[3] / "infra" / "demo" / "millrace.toml"


def test_what_is_shown_is_a_settings_file_that_resolves_to_the_same(tmp_path: Path) -> None:
    settings = load(CONFIG, environ={})
    shown = tmp_path / "millrace.toml"
    shown.write_text(dumps(masked(settings)))

    assert load(shown, environ={}) == settings


def test_secrets_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "kafka.password=hunter2"]) == 0

    said = capsys.readouterr().out
    assert "hunter2" not in said
    assert 'password = "***"' in said


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"a": 1, "b": None}, "a = 1\n"),
        ({"a": {"x@v1": {"on": True}}}, '[a."x@v1"]\non = true\n'),
        ({"a": {}}, "[a]\n"),
        ({"a": ["x", 'q"uote']}, 'a = ["x", "q\\"uote"]\n'),
        ({"a": {"n": 0.5, "b": {"c": "d"}}}, '[a]\nn = 0.5\n\n[a.b]\nc = "d"\n'),
    ],
)
def test_values_as_toml(tree: dict[str, object], text: str) -> None:
    assert dumps(tree) == text
