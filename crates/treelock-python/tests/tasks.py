"""Tasks that enter and exit, in both ways: in an event loop and without one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

LONG_SECONDS = 60
"""No wait takes as long as this, unless it hangs."""

SHORT_SECONDS = 0.01
"""For waits that must fail."""


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Works like ``asyncio.run``, with a time limit."""
    return asyncio.run(asyncio.wait_for(main, LONG_SECONDS))


async def turns(count: int) -> None:
    """Lets the event loop run a few turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def pass_through(manager: Any, inside: Callable[[], Any] = lambda: None) -> None:
    """Enters and exits."""
    async with manager:
        inside()


async def stay(manager: Any, over: asyncio.Event) -> None:
    """Enters, and exits when it is told to."""
    async with manager:
        await over.wait()


async def started(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Starts a task and lets it get as far as it can."""
    task = asyncio.create_task(work)
    await turns(2)
    return task


def without_times(text: str) -> str:
    """Returns the text as it would be if nothing took any time."""
    return re.sub(r"\d+\.\ds", "0.0s", text)


def enter_async(manager: Any) -> None:
    """Enters and exits in its own loop."""
    run(pass_through(manager))


def enter_sync(manager: Any) -> None:
    """Enters and exits without a loop."""
    with manager:
        pass


both_ways = pytest.mark.parametrize("enter", [enter_async, enter_sync])
tries_and_waits = pytest.mark.parametrize("timeout", [0, 0.0, SHORT_SECONDS])
