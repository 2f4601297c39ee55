"""How a command ends: its exit code, and one clear line on stderr where it could not do what it was asked.

Errors that Millrace knows become a line; any other is a defect and keeps its traceback.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from topics.errors import PipelineError, SettingsError, TransportError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2


def guarded(work: Callable[[], int]) -> int:
    """The exit code of `work`, also where it raises what a person at a terminal can mend, or Ctrl-C ends it."""
    try:
        code = work()
        sys.stdout.flush()
        return code
    except PipelineError as error:
        tell(f"error: {error.message}")
        return USAGE if isinstance(error, SettingsError) else FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has left; the flush at exit must not meet the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def tell(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    print(f"millrace: {message}", file=sys.stderr)


@contextmanager
def reaching_kafka(brokers: str) -> Iterator[None]:
    """Turns errors of the Kafka client into ones that say which broker it was and what to do.

    Raises:
        TransportError: in place of the client's error.
    """
    from aiokafka.errors import KafkaConnectionError, KafkaError

    try:
        yield
    except KafkaConnectionError as error:
        raise TransportError(
            f"cannot reach Kafka at {brokers}; start a local cluster (`millrace up`, then `millrace env`), "
            "or point MILLRACE_KAFKA at yours"
        ) from error
    except KafkaError as error:
        raise TransportError(f"Kafka at {brokers}: {str(error) or type(error).__name__}") from error
