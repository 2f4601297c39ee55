"""Waiting for a fact instead of for a time: the one way in which tests wait for what no event announces."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, within_s: float = 20, every_s: float = 0.02) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, within_s: float = 20, every_s: float = 0.02) -> T: ...


async def eventually(check: Callable[[], Any], *, within_s: float = 20, every_s: float = 0.02) -> Any:
    """The first true value of `check()`, asked every `every_s` seconds; `check` may be a coroutine function.

    An AssertionError of `check` counts as "not yet", so that it may hold several assertions and return True.

    Raises:
        AssertionError: it did not hold within `within_s` seconds; the last answer is in the message.
    """
    give_up_at_s = time.monotonic() + within_s
    while True:
        try:
            answer = check()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
            last = repr(value)
        except AssertionError as not_yet:
            last = repr(not_yet)
        if time.monotonic() >= give_up_at_s:
            raise AssertionError(f"did not hold within {within_s:g} s; the last answer was {last}")
        await asyncio.sleep(every_s)
