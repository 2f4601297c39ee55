import re
import shlex
from pathlib import Path

from pipeline.cli.main import COMMANDS, command_parser
from pipeline.settings import Settings, load

PIPELINE = Path(__file__).parents[3] / "pipeline"
README = (PIPELINE / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _settings(tmp_path: Path) -> Settings:
    (example,) = _blocks("toml")
    path = tmp_path / "millrace.toml"
    path.write_text(example)
    return load(path, environ={"MILLRACE_KAFKA_PASSWORD": "from the environment"})


def test_the_settings_of_the_readme_are_settings(tmp_path: Path) -> None:
    settings = _settings(tmp_path)

    assert settings.kafka.replication == 3
    assert not settings.classes["bulk"].shed
    assert settings.layout().models[0].deployments == ("smollm2@v1",)


def test_the_settings_of_the_readme_show_every_section(tmp_path: Path) -> None:
    (example,) = _blocks("toml")

    assert [name for name in Settings.__struct_fields__ if not re.search(rf"^\[{name}\b", example, re.MULTILINE)] == []
    assert _settings(tmp_path) != Settings()


def test_the_commands_of_the_readme_are_understood() -> None:
    (block,) = _blocks("console")
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]

    parsed = [command_parser(words[0], COMMANDS[words[0]].load()).parse_args(words[1:]) for words in lines]

    assert len(parsed) == len(lines)


def test_the_readme_names_every_folder() -> None:
    folders = {path.parent.name for path in PIPELINE.glob("*/__init__.py")}

    assert {name for name in folders if f"| `{name}/` |" not in README} == set()
