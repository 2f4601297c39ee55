"""Ways to see from outside that a child is ready: it listens, it answers over HTTP, or its log says so.

Each function returns a check for `Child(ready=...)`, which is called every 20 ms until it returns True.
"""

import urllib.error
import urllib.request
from collections.abc import Callable

from infra.devstack.ports import is_listening
from infra.devstack.processes import Child

Check = Callable[[Child], bool]
_ANSWER_WITHIN_S = 2.0


def listens_on(port: int) -> Check:
    """Ready when it accepts connections on this port of 127.0.0.1."""
    return lambda _: is_listening(port)


def answers_ok(url: str) -> Check:
    """Ready when a GET of this address is answered with a status below 400."""
    return lambda _: _answers(url)


def log_says(text: str) -> Check:
    """Ready when its output since this start contains the text: for processes that serve nothing."""
    return lambda child: text in child.log_text()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_WITHIN_S):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
