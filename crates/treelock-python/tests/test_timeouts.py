"""When the time is up, and when it is not: what is left, who proceeds, and which timeouts apply."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from conftest import nothing_is_left
from nodes import PHOTOS, YEAR, A
from tasks import (
    LONG_SECONDS,
    SHORT_SECONDS,
    both_ways,
    enter_sync,
    pass_through,
    run,
    started,
    stay,
    tries_and_waits,
    turns,
)

# --------------------------------------------------------------------------- without success


@both_ways
@tries_and_waits
def test_after_a_timeout_nothing_is_left(enter: Callable[[Any], None], timeout: float) -> None:
    """Neither in line nor held; and the same context manager may request again."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS], timeout=timeout)
    with lock(read=[YEAR]):
        before = lock.snapshot().entries[0].ticket
        for _ in range(3):
            with pytest.raises(LockTimeout):
                enter(manager)
        assert [entry.ticket for entry in lock.snapshot()] == [before]
        assert not manager.locked()
    enter(manager)
    assert len(lock.snapshot()) == 0


def test_after_a_timeout_those_behind_go_on() -> None:
    """A reader waits only for the writer in line; when that gives up, the reader enters."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(read=[PHOTOS]):
            writer = await started(pass_through(lock(write=[YEAR], timeout=SHORT_SECONDS)))
            reader = await started(pass_through(lock(read=[YEAR])))
            assert len(lock.snapshot().waiting) == 2
            await reader
            with pytest.raises(LockTimeout):
                await writer

    run(main())


def test_after_a_timeout_of_a_thread_those_behind_go_on() -> None:
    """The same between threads."""
    lock = TreeLock()

    def writer() -> None:
        with pytest.raises(LockTimeout):
            enter_sync(lock(write=[YEAR], timeout=SHORT_SECONDS))

    def reader() -> None:
        enter_sync(lock(read=[YEAR]))

    with lock(read=[PHOTOS]):
        threads = [threading.Thread(target=work, daemon=True) for work in (writer, reader)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_SECONDS)
            assert not thread.is_alive()
    assert len(lock.snapshot()) == 0


def test_timeout_zero_takes_no_turn_of_the_loop() -> None:
    """It is a try: it answers at once, whatever the answer."""
    lock = TreeLock()

    async def main() -> None:
        turned: list[int] = []
        asyncio.get_running_loop().call_soon(turned.append, 1)
        async with lock(write=[PHOTOS], timeout=0):
            with pytest.raises(LockTimeout):
                async with lock(write=[PHOTOS], timeout=0):
                    raise AssertionError("granted")
        assert turned == []

    run(main())


@both_ways
def test_a_try_does_not_overtake(enter: Callable[[Any], None]) -> None:
    """A try that conflicts with no holder, but with a waiter, is not granted."""
    lock = TreeLock()

    def writer() -> None:
        with lock(write=[YEAR], label="writer"):
            pass

    thread = threading.Thread(target=writer, daemon=True)
    with lock(read=[PHOTOS]):
        thread.start()
        while not lock.snapshot().waiting:
            threading.Event().wait(0.001)
        with pytest.raises(LockTimeout, match="writer"):
            enter(lock(read=[YEAR], timeout=0))
        assert lock(read=[YEAR]).acquire(blocking=False) is False
        enter(lock(read=[PHOTOS / "2024"], timeout=0))
    thread.join(LONG_SECONDS)


def test_a_cancelled_wait_with_a_timeout_is_cancelled() -> None:
    """It neither turns into a timeout nor fires later."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(pass_through(lock(write=[PHOTOS], timeout=SHORT_SECONDS)))
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            await asyncio.sleep(SHORT_SECONDS * 2)
            assert len(lock.snapshot()) == 1

    run(main())


def test_a_timeout_in_flight_with_many() -> None:
    """Many tasks with one short timeout: each is told, and none is left."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            visits = (pass_through(lock(write=[YEAR], timeout=SHORT_SECONDS)) for _ in range(100))
            results = await asyncio.gather(*visits, return_exceptions=True)
            assert {type(result) for result in results} == {LockTimeout}
            assert len(lock.snapshot()) == 1

    run(main())


# ------------------------------------------------------------------------------------ in time


@both_ways
@pytest.mark.parametrize("timeout", [None, 0, SHORT_SECONDS, 1e6])
def test_a_timeout_does_no_harm_when_nothing_is_in_the_way(
    enter: Callable[[Any], None], timeout: float | None
) -> None:
    """It may be a float, an integer or ``None``."""
    lock = TreeLock()
    enter(lock(write=[PHOTOS], timeout=timeout))
    assert len(lock.snapshot()) == 0


def test_a_grant_in_time_is_no_timeout() -> None:
    """The lock is granted while there is time left, and the timeout does not fire afterwards."""
    lock, over = TreeLock(), asyncio.Event()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(stay(lock(write=[PHOTOS], timeout=LONG_SECONDS), over))
        await turns(2)
        assert len(lock.snapshot().held) == 1
        over.set()
        await waiter

    run(main())


def test_time_that_ends_in_the_body_does_not_matter() -> None:
    """``timeout`` applies to the wait; a task that is inside may stay."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(slow(lock(write=[PHOTOS], timeout=0.5)))
        await waiter

    async def slow(manager: Any) -> None:
        async with manager:
            await asyncio.sleep(0.6)

    run(main())


def test_a_wake_up_that_comes_late_does_not_end_the_next_wait() -> None:
    """It reaches a thread whose time was up, but which was granted at the last moment."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    again = threading.Event()
    granted: list[bool] = []

    def work() -> None:
        granted.append(manager.acquire(timeout=0.1))
        manager.release()
        holder.acquire()
        again.set()
        granted.append(manager.acquire(timeout=20))
        manager.release()

    holder.acquire()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not lock.snapshot().waiting:
        time.sleep(0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # the thread's time ends, and it cannot see it yet
    try:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        holder.release()
    finally:
        sys.setswitchinterval(interval)
    assert again.wait(20)
    time.sleep(0.05)
    holder.release()
    thread.join(20)
    assert granted == [True, True]


# ----------------------------------------------------------------- the timer of an event loop


@pytest.mark.parametrize("end", ["granted", "granted at once", "closed", "thrown", "dropped"])
def test_a_timer_is_cancelled_when_the_wait_ends(end: str) -> None:
    """Otherwise the loop would keep it, and the future, until the time is up."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A], timeout=1000)
    holder.acquire()
    timers: list[asyncio.TimerHandle] = []

    class Loop(asyncio.SelectorEventLoop):
        def call_later(  # type: ignore[override]
            self, *arguments: Any, **keywords: Any
        ) -> asyncio.TimerHandle:
            timers.append(super().call_later(*arguments, **keywords))
            if end == "granted at once":
                holder.release()
            return timers[-1]

    async def main() -> None:
        entering: Any = manager.__aenter__()
        if end == "granted at once":
            with pytest.raises(StopIteration):
                entering.send(None)
        else:
            assert entering.send(None) is not None
        assert len(timers) == 1
        if end == "granted":
            assert not timers[0].cancelled()
            holder.release()
            with pytest.raises(StopIteration):
                entering.send(None)
        elif end == "closed":
            entering.close()
        elif end == "thrown":
            with pytest.raises(KeyError):
                entering.throw(KeyError())
        del entering
        assert timers[0].cancelled()

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    for each in (holder, manager):
        if each.locked():
            each.release()


async def test_a_result_that_somebody_else_sets_is_no_time_out() -> None:
    """Without a timeout, the wait continues."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()
    entering: Any = manager.__aenter__()
    future = entering.send(None)
    future.set_result(None)
    assert entering.send(None) is future
    assert len(lock.snapshot().waiting) == 1
    holder.release()
    with pytest.raises(StopIteration):
        entering.send(None)
    manager.release()
    nothing_is_left(lock)


# --------------------------------------------------------------- times with code of their own


def by_await(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A], timeout=timeout).__aenter__().send(None)


def by_with(lock: TreeLock, timeout: Any) -> None:
    with lock(write=[A], timeout=timeout):
        pytest.fail("entered")


def by_acquire(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A], timeout=timeout).acquire()


def by_acquire_with_it(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A]).acquire(timeout=timeout)


each_way_to_limit = pytest.mark.parametrize(
    "enter", [by_await, by_with, by_acquire, by_acquire_with_it]
)


@each_way_to_limit
def test_a_timeout_that_is_no_float_any_more(enter: Callable[[TreeLock, Any], None]) -> None:
    """An integer that is too large raises what Python raises for it, not a type error."""
    lock = TreeLock()
    with pytest.raises(OverflowError):
        enter(lock, 10**400)
    nothing_is_left(lock)


class OwnError(ValueError):
    pass


@each_way_to_limit
@pytest.mark.parametrize("error", [OwnError, OverflowError, KeyboardInterrupt])
def test_a_timeout_whose_code_raises(
    enter: Callable[[TreeLock, Any], None], error: type[BaseException]
) -> None:
    """Whatever its code raises is passed on unchanged."""
    raised = error("mine")

    class Seconds:
        def __float__(self) -> float:
            raise raised

    lock = TreeLock()
    with pytest.raises(error) as caught:
        enter(lock, Seconds())
    assert caught.value is raised
    nothing_is_left(lock)
