"""Event loops and threads that share one lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from treelock import TreeLock

LONG_SECONDS = 60
"""No wait takes as long as this, unless it hangs."""
NewLoop = Callable[[], asyncio.AbstractEventLoop]


def run_in(new_loop: NewLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Works like ``asyncio.run``, with any loop and a time limit."""
    loop = new_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, LONG_SECONDS))
    finally:
        loop.run_until_complete(cancel_the_others())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def cancel_the_others() -> None:
    """Cancels all remaining tasks."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Crew:
    """Threads whose errors are raised where they are joined."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., Any], *args: Any) -> None:
        """Starts a thread; a daemon, so that a hanging thread fails only its test."""

        def guarded() -> None:
            try:
                work(*args)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Waits for all threads."""
        for thread in self._threads:
            thread.join(LONG_SECONDS)
        for error in self._errors:
            raise error
        assert not any(thread.is_alive() for thread in self._threads), "a thread waits forever"


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread is about to do."""
    pause = threading.Event()
    for _ in range(LONG_SECONDS * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen")


async def turns(count: int) -> None:
    """Lets the event loop run a few turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def pass_and_tell(lock: TreeLock, seen: list[str], name: str, **roots: Any) -> None:
    """Enters and exits, and records it."""
    async with lock(**roots):
        seen.append(name)
