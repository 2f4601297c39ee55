"""One finding of the doctor."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at, what was found, and how to mend it where it is not as it should be."""

    name: str
    state: State
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Check:
    """As it should be."""
    return Check(name=name, state="ok", found=found)


def warn(name: str, found: str, *, mend: str) -> Check:
    """Works, and could be better; or matters for some uses only."""
    return Check(name=name, state="warn", found=found, mend=mend)


def fail(name: str, found: str, *, mend: str) -> Check:
    """Requests are not served like this."""
    return Check(name=name, state="fail", found=found, mend=mend)
