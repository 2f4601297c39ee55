"""The plain consumers that `topics/README.md` shows, as programs to run."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import topics
from infra.devstack.home import millrace_home
from infra.devstack.jars import download, java, kafka_jars
from infra.devstack.once import made_once

Ended = tuple[str, str, dict[str, Any]]
Answers = Callable[[str, str, int], Iterator[Ended]]

ECJ: Final = "org.eclipse.jdt:ecj:3.44.0"
"""A Java compiler in one jar of 3 MB: the packaged Java runtime has none."""
ECJ_SHA256: Final = "14c46ddc2e511c46c998da728f6a80f13a689c920f3832402f7ad150f6a6188d"
README: Final = Path(topics.__file__).parent / "README.md"


def block(language: str) -> str:
    """The plain consumer in a language."""
    found = re.search(rf"## A plain consumer\n.*?```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None, f"topics/README.md shows no plain consumer in {language}"
    return found[1]


def python_answers() -> Answers:
    """`answers` as the README has it."""
    scope: dict[str, Any] = {}
    exec(compile(block("python"), "topics/README.md", "exec"), scope)
    answers: Answers = scope["answers"]
    return answers


def compiled_java(folder: Path) -> Path:
    """The folder with the classes of the README's Java program."""
    source = folder / "Answers.java"
    source.write_text(block("java"))
    command: list[str | Path] = [
        java(),
        "-jar",
        _compiler(),
        "-25",
        "-proc:none",
        "-nowarn",
        "-cp",
        _class_path(),
        "-d",
        folder,
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def java_answers(classes: Path, brokers: str, topic: str, partition: int) -> Iterator[Iterator[Ended]]:
    """The answers that the Java program prints; it is killed at the end of the block."""
    path = f"{classes}:{_class_path()}"
    command: list[str | Path] = [
        java(),
        "-XX:TieredStopAtLevel=1",
        "-cp",
        path,
        "Answers",
        brokers,
        topic,
        str(partition),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        try:
            yield ((line[0], line[1], line[2]) for line in map(json.loads, program.stdout))
        finally:
            program.kill()


def _class_path() -> str:
    wanted = ("kafka-clients-", "jackson-annotations-", "jackson-core-", "jackson-databind-", "slf4j-api-", "lz4-")
    return ":".join(str(jar) for jar in sorted(kafka_jars().glob("*.jar")) if jar.name.startswith(wanted))


def _compiler() -> Path:
    folder = millrace_home() / "jars" / "ecj-3.44.0"
    (jar,) = made_once(folder, lambda fresh: download(fresh, [ECJ])).glob("ecj-*.jar")
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    assert found == ECJ_SHA256, f"{jar} has SHA-256 {found}"
    return jar
