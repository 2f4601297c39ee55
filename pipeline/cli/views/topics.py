"""Tables of topics: what there is to be, and what was found."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pipeline.cli.views.table import columns, duration, sign, table
from pipeline.runtime.topics import Finding
from topics.catalogue import Topic


def catalogue_table(catalogue: Sequence[Topic]) -> Table:
    """Every topic of the settings, in the order of a request's way."""
    view = columns(table(), left=("topic",), right=("partitions", "kept"), last=("key", "records"))
    for topic in catalogue:
        kept = "compacted" if topic.cleanup == "compact" else duration(topic.retention_ms / 1000)
        view.add_row(topic.name, str(topic.partitions), kept, topic.key, Text(topic.value, style="dim"))
    return view


def findings_table(findings: Sequence[Finding]) -> Table:
    """What a cluster has of each topic, and what is not right about it."""
    view = columns(table(), left=("", "topic"), right=("partitions",), last=("finding",))
    for found in findings:
        mark = sign("ok" if found.is_right else "fail" if found.partitions == 0 else "warn")
        view.add_row(mark, found.topic.name, f"{found.partitions}/{found.topic.partitions}", problem_of(found))
    return view


def made_table(before: Sequence[Finding]) -> Table:
    """What was made, from what was found before."""
    view = columns(table(), left=("", "topic"), right=("partitions",), last=("made",))
    for found in before:
        mark = sign("ok" if found.partitions or not found.differences else "warn")
        view.add_row(mark, found.topic.name, str(max(found.partitions, found.topic.partitions)), made_of(found))
    return view


def problem_of(found: Finding) -> str:
    """What is wrong with a topic, empty if nothing is."""
    if found.partitions == 0:
        return "does not exist"
    problems = list(found.differences)
    if found.partitions < found.topic.partitions:
        problems.insert(0, f"has {found.partitions} partitions, needs {found.topic.partitions}")
    return "; ".join(problems)


def made_of(found: Finding) -> str:
    """What `topics create` made of a topic that was found so."""
    if found.partitions == 0:
        return "created"
    if found.partitions < found.topic.partitions:
        return f"{found.topic.partitions - found.partitions} partitions added"
    return "was there; " + "; ".join(found.differences) if found.differences else "was there"
