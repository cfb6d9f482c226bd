"""Shared by all tests: a way to run them, the seed, and common helpers.

Tests that are coroutine functions are run with ``asyncio.run``, each in its own event loop and with
a time limit, so that a lost wake-up is a failure and not a hang.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib.util
import inspect
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ASYNC_LIMIT = 30
"""Seconds until a test in an event loop is cancelled."""

HARD_LIMIT = 120
"""Seconds until the process ends itself with a traceback, since a blocked thread cannot be told."""

_stderr = -1


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the real stderr, which pytest captures later, for the traceback of a hanging test."""
    global _stderr
    _stderr = os.dup(2)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs tests that are coroutine functions, without a plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def _end_a_hanging_process() -> Iterator[None]:
    faulthandler.dump_traceback_later(HARD_LIMIT, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    _visiting.clear()


# --------------------------------------------------------------------------------- the seed


def load_seed() -> ModuleType:
    """Loads the package ``treelock`` of PyPI as ``seed_treelock``, or skips the test.

    It is loaded by file, never by name. If its directory were in ``sys.path``, ``import treelock``
    would find the seed, and the tests would test the seed against itself.
    """
    if "seed_treelock" in sys.modules:
        return sys.modules["seed_treelock"]
    directory = os.environ.get("TREELOCK_SEED")
    if not directory:
        pytest.skip(
            "TREELOCK_SEED is not set: pip install --no-deps --target DIR treelock==0.0.17 "
            "fifolock==0.0.20, then run with TREELOCK_SEED=DIR"
        )
    had = sys.modules.get("fifolock")
    try:
        sys.modules["fifolock"] = _load("fifolock", Path(directory, "fifolock.py"))
        seed = _load("seed_treelock", Path(directory, "treelock.py"))
    finally:
        sys.modules.pop("fifolock", None)
        if had is not None:
            sys.modules["fifolock"] = had
    sys.modules["seed_treelock"] = seed
    return seed


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def seed() -> ModuleType:
    """Returns the package ``treelock`` from PyPI."""
    return load_seed()


# ----------------------------------------------------------------------- running, and turns


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a new event loop, within the time limit."""

    async def limited() -> Any:
        return await asyncio.wait_for(coroutine, ASYNC_LIMIT)

    return asyncio.run(limited())


async def settle(turns: int = 12) -> None:
    """Lets everything that can proceed do so: more turns of the loop than any step here needs."""
    for _ in range(turns):
        await asyncio.sleep(0)


def in_thread(function: Callable[[], Any]) -> Any:
    """Runs a function in its own thread, and returns or raises its result."""
    result: list[Any] = []
    error: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as raised:  # noqa: BLE001
            error.append(raised)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(ASYNC_LIMIT)
    assert not thread.is_alive(), "the thread hangs"
    if error:
        raise error[0]
    return result[0]


async def enter(manager: Any) -> None:
    """Enters, in a Python coroutine around the awaitable."""
    await manager.__aenter__()


async def exit_in(manager: Any) -> None:
    """Exits, in the task that runs this."""
    await manager.__aexit__(None, None, None)


async def through_wait_for(entering: Any) -> None:
    """Awaits an enter or an exit through a time limit, in its own task."""
    await asyncio.wait_for(entering, 20)


# ------------------------------------------------------------- event loops of all kinds


def new_uvloop() -> asyncio.AbstractEventLoop:
    """Returns a loop in C, whose futures and handles are not asyncio's."""
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


@pytest.fixture(params=[asyncio.new_event_loop, new_uvloop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Returns a function that makes event loops of one kind."""
    make: Callable[[], asyncio.AbstractEventLoop] = request.param
    if make is new_uvloop:
        pytest.importorskip("uvloop")
    return make


# ------------------------------------------------------------- stepping awaitables by hand


def finishes_at_once(awaitable: Any) -> bool:
    """Returns whether the first step of an awaitable is its last, without a turn of the loop.

    If not, it is closed.
    """
    try:
        awaitable.send(None)
    except StopIteration as done:
        assert done.value is None
        return True
    awaitable.close()
    return False


def enter_now(manager: Any) -> None:
    """Enters by hand a context manager that has nothing in its way."""
    assert finishes_at_once(manager.__aenter__()), "it waits, and there is nothing to wait for"


def exit_now(manager: Any) -> None:
    """Exits a context manager by hand."""
    assert finishes_at_once(manager.__aexit__(None, None, None)), "an exit waits for nothing"


# ------------------------------------------------------------------------ what tests are given


class Broken(Exception):
    """An exception that only these tests raise."""


def given(lock: Any, arguments: dict[str, Any]) -> Any:
    """Calls a lock with arguments that are chosen by name."""
    return lock(**arguments)


# ------------------------------------------------------------------------------ what is held


_visiting: set[asyncio.Future[None]] = set()  # an event loop alone does not keep its tasks alive


class Visit:
    """A task that enters a context manager, stays until it is told to exit, and exits."""

    def __init__(self, manager: Any) -> None:
        self.inside = False
        self.was_inside = False
        self._may_leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._visit(manager))
        _visiting.add(self.task)
        self.task.add_done_callback(_visiting.discard)

    async def _visit(self, manager: Any) -> None:
        async with manager:
            self.inside = self.was_inside = True
            try:
                await self._may_leave.wait()
            finally:
                self.inside = False

    def let_go(self) -> None:
        """Tells the task that it may exit, now or as soon as it is inside."""
        self._may_leave.set()

    async def leave(self) -> None:
        """Lets the task exit, and waits until it has."""
        self.let_go()
        await self.task

    async def cancel(self) -> None:
        """Cancels the task, wherever it is, and waits until it is done."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def visit(manager: Any) -> Visit:
    """Starts a visit and lets it get as far as it can."""
    visitor = Visit(manager)
    await settle()
    return visitor


async def hold(manager: Any) -> Visit:
    """Starts a visit that has nothing in its way."""
    visitor = await visit(manager)
    assert visitor.inside, "it waits, and there is nothing to wait for"
    return visitor


async def is_free(lock: Any, read: Any = (), write: Any = ()) -> bool:
    """Returns whether a request is granted without any other request leaving. Leaves no trace.

    It needs only the ``async with`` that the seed has too.
    """
    visitor = await visit(lock(read, write))
    inside = visitor.inside
    if inside:
        await visitor.leave()
    else:
        await visitor.cancel()
    return inside


def can_have(lock: Any, read: Any = (), write: Any = ()) -> bool:
    """Returns whether a request can be granted at once, asked without an event loop."""
    manager = lock(read, write)
    granted: bool = manager.acquire(blocking=False)
    if granted:
        manager.release()
    return granted


def nothing_is_left(lock: Any) -> None:
    """Asserts that a lock is as if it had never been used."""
    assert len(lock.snapshot()) == 0, str(lock.snapshot())
    assert not lock.locked()
