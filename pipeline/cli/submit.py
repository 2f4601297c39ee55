"""Run a file of requests: every line is sent to one lane, and every answer becomes a line of the results file.

Lines are OpenAI batch lines, or plain request bodies. Ctrl-C ends the requests that are under way. Run the same command
again to go on where a run was broken off: lines that have a result are passed over, the others are sent with the same
ids as before. Exits with 1 if some lines have no answer.
"""

import argparse
import asyncio
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.cli.arguments import add_model, model_of, positive, settings_of
from pipeline.cli.failures import FAILED, OK, reaching_kafka, tell
from pipeline.cli.output import emit_json, talk
from pipeline.cli.views.table import count
from pipeline.client import Client, Timeouts
from pipeline.jobs.lines import Line, parse_lines
from pipeline.jobs.results import ResultLine, answered, cut_torn_line, encode_line, failed, settled_ids
from pipeline.jobs.run import Tally, run_lines
from pipeline.settings import KafkaSettings
from topics.errors import InvalidRequest, PipelineError, TransportError
from topics.requests import DEFAULT_TENANT

EXAMPLE = """\
millrace submit prompts.jsonl --model smollm2 --class bulk --out answers.jsonl
millrace submit prompts.jsonl --model smollm2 --retry --concurrency 512"""

PATIENT: Final = Timeouts(first_token_s=inf, idle_s=inf, total_s=inf)
"""Lines of a job wait as long as it takes: the pipeline ends each at its deadline."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, its lane, and where the answers go."""
    parser.add_argument("file", metavar="FILE.jsonl", type=Path, help="requests, one JSON object a line")
    add_model(parser)
    parser.add_argument(
        "--class", dest="latency_class", metavar="C", default="bulk", help="latency class; default: %(default)s"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="results; default: FILE.results.jsonl")
    parser.add_argument("--tenant", metavar="T", default=DEFAULT_TENANT, help="who asks; default: %(default)s")
    parser.add_argument(
        "--deadline-ms", metavar="MS", type=positive, help="milliseconds each line may take; default: the class's"
    )
    parser.add_argument(
        "--concurrency", metavar="N", type=positive, default=256, help="lines in flight; default: %(default)s"
    )
    parser.add_argument("--retry", action="store_true", help="run lines again whose error a retry can help")


def run(args: argparse.Namespace) -> int:
    """Run what has no result yet."""
    settings = settings_of(args)
    model = model_of(args, settings)
    out = args.out or args.file.with_suffix(".results.jsonl")
    settled = settled_in(out, retry=args.retry)
    tally = Tally(total=0)
    for line in read_lines(args.file):  # the whole file is checked before anything is sent
        tally.total += 1
        tally.skipped += line.id in settled
    lane = {"model": model, "latency_class": args.latency_class, "deadline_ms": args.deadline_ms}
    lines = (line for line in read_lines(args.file) if line.id not in settled)
    try:
        if tally.skipped < tally.total:
            with reaching_kafka(settings.kafka.brokers):
                asyncio.run(_run(settings.kafka, args, lane, lines, out, tally))
    except KeyboardInterrupt:
        tell(f"broken off; run the same command again to go on. {summary(tally, out)}")
        raise
    return _finish(args, tally, out)


def read_lines(path: Path) -> Iterator[Line]:
    """The requests of a file.

    Raises:
        InvalidRequest: it cannot be read, or a line of it is no request.
    """
    try:
        with path.open("rb") as file:
            yield from parse_lines(file, name=path.name)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from error


def settled_in(out: Path, *, retry: bool) -> set[str]:
    """Ids that have a result in the file of a former run, which is mended if that was killed; none without a file.

    Raises:
        InvalidRequest: the file is no results file.
    """
    if not out.exists():
        return set()
    if cut_torn_line(out):
        tell(f"{out} ended in the middle of a line, which was cut off")
    with out.open("rb") as file:
        return settled_ids(file, name=out.name, retry=retry)


async def _run(
    kafka: KafkaSettings, args: argparse.Namespace, lane: dict[str, Any], lines: Iterator[Line], out: Path, tally: Tally
) -> None:
    console = talk()
    async with Client(kafka=kafka, tenant=args.tenant, client_id="millrace-submit") as client:
        with out.open("ab") as results, progress_bar(console) as progress:
            task = progress.add_task("", total=tally.total, completed=tally.skipped, said="")

            def write(result: ResultLine) -> None:
                results.write(encode_line(result))
                results.flush()
                tally.count(result)
                _advance(progress, task, tally)

            await run_lines(lines, lambda line: answer(client, lane, line), write, concurrency=args.concurrency)


async def answer(client: Client, lane: dict[str, Any], line: Line) -> ResultLine:
    """The result of one line; a request that is not waited for any more is cancelled.

    Raises:
        TransportError: the broker did not take the request.
    """
    stream = client.stream(**lane, id=line.id, timeouts=PATIENT, stream=False, **line.body)
    try:
        async with stream:
            return answered(line.id, await stream.result())
    except TransportError:
        raise
    except PipelineError as error:
        return failed(line.id, error, origin=stream.origin or "")


def progress_bar(console: Console) -> Progress:
    """A bar with counts, on stderr."""
    return Progress(
        BarColumn(bar_width=32, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[said]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _advance(progress: Progress, task: TaskID, tally: Tally) -> None:
    trouble = f" · {count(tally.failed)} failed" if tally.failed else ""
    progress.update(task, advance=1, said=f"{count(tally.tokens)} tokens{trouble}")


def _finish(args: argparse.Namespace, tally: Tally, out: Path) -> int:
    if args.json:
        emit_json({"results": str(out), "total": tally.total, "skipped": tally.skipped, "completed": tally.completed,
                   "failed": tally.failed, "completion_tokens": tally.tokens})  # fmt: skip
    else:
        tell(summary(tally, out))
    return FAILED if tally.failed else OK


def summary(tally: Tally, out: Path) -> str:
    """What a run did, in one line."""
    parts = [f"{count(tally.completed)} answered"]
    if tally.failed:
        parts.append(f"{count(tally.failed)} failed")
    if tally.skipped:
        parts.append(f"{count(tally.skipped)} had results before")
    return f"{count(tally.total)} lines: {', '.join(parts)}; {count(tally.tokens)} tokens; results in {out}"
