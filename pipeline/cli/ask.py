"""Ask a model a question and see the answer as it is made: the text on stdout, what it cost on stderr.

Ctrl-C ends the request, not only the waiting. A question of `-` is read from stdin.
"""

import argparse
import asyncio
import sys
from typing import Any, Final

from pipeline.cli.arguments import add_model, model_of, positive, settings_of
from pipeline.cli.failures import OK, reaching_kafka, tell
from pipeline.cli.output import emit_json
from pipeline.cli.views.table import duration
from pipeline.client import Client, Result, Timeouts
from pipeline.settings import KafkaSettings
from topics.requests import DEFAULT_TENANT

EXAMPLE = """\
millrace ask "What is the capital of France?" --model smollm2 --max-tokens 64
echo "Name three fruits." | millrace ask - --class bulk --temperature 0"""

TIMEOUTS: Final = Timeouts(connect_s=5)
"""A person waits: whether there is a broker is known soon."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The question, and how it is to be answered."""
    parser.add_argument("question", metavar="QUESTION", help="what to ask; - reads it from stdin")
    add_model(parser)
    parser.add_argument(
        "--class", dest="latency_class", metavar="C", default="interactive", help="latency class; default: %(default)s"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=positive, default=256, help="longest answer in tokens; default: %(default)s"
    )
    parser.add_argument("--temperature", metavar="T", type=float, help="0 to 2; default: 1")
    parser.add_argument("--system", metavar="S", help="system message before the question")
    parser.add_argument("--tenant", metavar="T", default=DEFAULT_TENANT, help="who asks; default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Ask it."""
    settings = settings_of(args)
    question = request_of(args, model_of(args, settings), sys.stdin.read() if args.question == "-" else args.question)
    with reaching_kafka(settings.kafka.brokers):
        asyncio.run(_ask(settings.kafka, args.tenant, question, as_json=args.json))
    return OK


def request_of(args: argparse.Namespace, model: str, question: str) -> dict[str, Any]:
    """The arguments of `Client.stream` for a question."""
    system = [] if args.system is None else [{"role": "system", "content": args.system}]
    request = {
        "model": model,
        "messages": [*system, {"role": "user", "content": question}],
        "latency_class": args.latency_class,
        "max_tokens": args.max_tokens,
    }
    return request if args.temperature is None else {**request, "temperature": args.temperature}


def usage_line(result: Result, *, first_s: float | None, total_s: float) -> str:
    """What an answer took, in one line. Times are the asker's, in seconds."""
    parts = []
    if result.usage is not None:
        parts.append(f"{result.usage.prompt_tokens} tokens in, {result.usage.completion_tokens} out")
    if first_s is not None:
        parts.append(f"first after {duration(first_s)}")
    parts.append(f"all after {duration(total_s)}")
    if result.usage is not None and first_s is not None and result.usage.completion_tokens > 1 and total_s > first_s:
        parts.append(f"{(result.usage.completion_tokens - 1) / (total_s - first_s):.1f} tokens/s")
    parts += [result.finish_reason, result.deployment or "", result.id]
    return " · ".join(part for part in parts if part)


async def _ask(settings: KafkaSettings, tenant: str, question: dict[str, Any], *, as_json: bool) -> None:
    clock = asyncio.get_running_loop().time
    async with Client(kafka=settings, tenant=tenant, client_id="millrace-ask", timeouts=TIMEOUTS) as client:
        begun_s, first_s = clock(), None
        async with client.stream(**question) as stream:
            async for delta in stream:
                if first_s is None and delta.token_ids:
                    first_s = clock() - begun_s
                if not as_json:
                    _show(delta.text, restarted=delta.restarted)
            result = await stream.result()
    if as_json:
        emit_json(result)
        return
    print(flush=True)
    tell(usage_line(result, first_s=first_s, total_s=clock() - begun_s))


def _show(text: str, *, restarted: bool) -> None:
    if restarted:
        print(flush=True)
        tell("the answer could not be continued after a failure and begins again:")
    sys.stdout.write(text)
    sys.stdout.flush()
