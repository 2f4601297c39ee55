"""The other end of `driver`: a real engine to talk to from a process that has no vLLM."""

import itertools
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from topics.bodies import CHAT, COMPLETIONS

STEP_WITHIN_S = 60.0
START_WITHIN_S = 240.0
CHECKOUT = Path(__file__).resolve().parents[3]

_serial = itertools.count()


class Answer(msgspec.Struct):
    """All outputs of one request."""

    outputs: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return "".join(output["text"] for output in self.outputs)

    @property
    def tokens(self) -> list[int]:
        return [token for output in self.outputs for token in output["token_ids"]]

    @property
    def last(self) -> dict[str, Any]:
        return self.outputs[-1]

    @property
    def error(self) -> dict[str, Any]:
        error = self.last["error"]
        assert isinstance(error, dict), f"no error: {self.last}"
        return error

    @property
    def usage(self) -> dict[str, Any]:
        usage = self.last["usage"]
        assert isinstance(usage, dict), f"no usage: {self.last}"
        return usage


def core_of(worker: int) -> psutil.Process:
    """The process of a worker's engine core: vLLM has it say so in its title."""
    (core,) = (child for child in psutil.Process(worker).children() if "EngineCore" in " ".join(child.cmdline()))
    return core


class RemoteEngine:
    """A driver process and what it said."""

    def __init__(self, python: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [python, "-m", "tests.integration.vllm.driver"],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers: dict[str, queue.Queue[dict[str, Any]]] = {}
        self.deliveries = 0
        self.limits: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def engine_processes(self) -> list[psutil.Process]:
        """The processes below the driver."""
        return list(psutil.Process(self.pid).children(recursive=True))

    def core_process(self) -> psutil.Process:
        """The engine core."""
        return core_of(self.pid)

    def send(self, op: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"op": op, **fields}) + b"\n")
        self._process.stdin.flush()

    def expect(self, event: str, within_s: float = STEP_WITHIN_S) -> dict[str, Any]:
        """The next event, which has to be this one."""
        try:
            got = self._events.get(timeout=within_s)
        except queue.Empty:
            raise AssertionError(f"no {event!r} within {within_s} s; the log ends:\n{self.log_end()}") from None
        assert got["event"] == event, f"{got}; the log ends:\n{self.log_end()}"
        return got

    def start(self, **deployment: Any) -> dict[str, Any]:
        self.send("start", deployment=deployment)
        return self.expect("started", START_WITHIN_S)

    def submit(
        self, *bodies: dict[str, Any], priority: int = 0, continued: Sequence[int] = (), repeats_text: bool = False
    ) -> list[str]:
        """Submit bodies at once; their keys."""
        keys = [f"request-{next(_serial)}" for _ in bodies]
        self._answers.update((key, queue.Queue()) for key in keys)
        shared = {"priority": priority, "continued": list(continued), "repeats_text": repeats_text}
        requests = [
            {"key": key, "endpoint": CHAT if "messages" in body else COMPLETIONS, "body": body, **shared}
            for key, body in zip(keys, bodies, strict=True)
        ]
        self.send("submit", requests=requests)
        return keys

    def next_output(self, key: str) -> dict[str, Any]:
        try:
            return self._answers[key].get(timeout=STEP_WITHIN_S)
        except queue.Empty:
            raise AssertionError(f"no output of {key}; the log ends:\n{self.log_end()}") from None

    def answer(self, key: str) -> Answer:
        """Everything up to the last output."""
        outputs = [self.next_output(key)]
        while outputs[-1]["finish_reason"] is None and outputs[-1]["error"] is None:
            outputs.append(self.next_output(key))
        return Answer(outputs)

    def ask(
        self, body: dict[str, Any], *, priority: int = 0, continued: Sequence[int] = (), repeats_text: bool = False
    ) -> Answer:
        (key,) = self.submit(body, priority=priority, continued=continued, repeats_text=repeats_text)
        return self.answer(key)

    def has_more(self, key: str) -> bool:
        """Whether something came after what was read."""
        return not self._answers[key].empty()

    def log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])

    def kill(self) -> None:
        """`kill -9` of the driver alone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        children = psutil.Process(self.pid).children(recursive=True) if self._process.poll() is None else []
        self.kill()
        self._process.stdin.close()
        self._reader.join(timeout=10)
        psutil.wait_procs(children, timeout=20)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                event = msgspec.json.decode(line)
                if event["event"] != "outputs":
                    self._events.put(event)
                    continue
                self.deliveries += 1
                for output in event["outputs"]:
                    output["delivery"] = self.deliveries
                    self._answers[output["key"]].put(output)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def completion(prompt: str | list[int], **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "temperature": 0, **fields}


def still_there(processes: Sequence[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Those of the processes that have not ended within that time."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
