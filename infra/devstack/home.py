"""Where downloaded and unpacked things live: one folder a user, shared by all checkouts and stacks.

It holds what can be fetched again. Data of a running stack is not kept here.
"""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds `infra/`: the working tree in a checkout."""


def millrace_home() -> Path:
    """The folder for jars and models: `$MILLRACE_HOME`, or `millrace` in the user's cache folder. May be missing."""
    chosen = os.environ.get("MILLRACE_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser().resolve() / "millrace"
