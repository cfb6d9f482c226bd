"""Points 11 and 12 of the contract: a task that is cancelled or fails gives everything back.

In line, between the grant and running, inside, once and twice: the next in line proceeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from typing import Any

import pytest
from treelock import TreeLock

from conftest import (
    Broken,
    Visit,
    enter,
    enter_now,
    exit_now,
    hold,
    nothing_is_left,
    run,
    settle,
    through_wait_for,
    visit,
)
from nodes import A_B, A, B

# ----------------------------------------------------------------------------------------- 11


@pytest.mark.parametrize("times", [1, 2])
async def test_11_cancelled_before_it_began(times: int) -> None:
    """A task that never ran has requested nothing."""
    lock = TreeLock()
    for entering in (lock(write=[A]).__aenter__(), enter(lock(write=[A]))):
        task = asyncio.ensure_future(entering)
        for _ in range(times):
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        nothing_is_left(lock)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("bare", [True, False], ids=["task of the awaitable", "task around it"])
async def test_11_cancelled_in_line(times: int, bare: bool) -> None:
    """A waiter that is cancelled is out of the line in the next turn, and those behind it move up.
    """
    lock = TreeLock()
    holder = await hold(lock(read=[A]))
    manager = lock(write=[A])
    task = asyncio.ensure_future(manager.__aenter__() if bare else enter(manager))
    await settle()
    behind = await visit(lock(read=[A]))
    assert not behind.inside
    for _ in range(times):
        task.cancel()
    await settle()
    assert task.cancelled()
    assert behind.inside
    await holder.leave()
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("bare", [True, False], ids=["task of the awaitable", "task around it"])
async def test_11_cancelled_between_grant_and_running(times: int, bare: bool) -> None:
    """A grant that was not yet observed is given back, and the next in line gets it."""
    lock = TreeLock()
    holder = lock(write=[A])
    await holder.__aenter__()
    manager = lock(write=[A])
    task = asyncio.ensure_future(manager.__aenter__() if bare else enter(manager))
    await settle()
    behind = await visit(lock(write=[A]))
    await holder.__aexit__(None, None, None)  # now the grant is on its way
    assert not task.done()
    for _ in range(times):
        task.cancel()
    await settle()
    assert task.cancelled()
    assert not manager.locked()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("times", [1, 2])
async def test_11_cancelled_in_the_body(times: int) -> None:
    """A task that is cancelled inside exits, and the next in line enters."""
    lock = TreeLock()
    visitor = await hold(lock(write=[A]))
    behind = await visit(lock(write=[A]))
    for _ in range(times):
        visitor.task.cancel()
    await settle()
    assert visitor.task.cancelled()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


async def test_11_cancelled_again_while_it_cleans_up() -> None:
    """The second cancellation finds the task in its own clean-up, with the lock long given back."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))

    async def cleans_up() -> None:
        try:
            async with lock(write=[A]):
                pytest.fail("entered")
        finally:
            await asyncio.sleep(1000)

    task = asyncio.ensure_future(cleans_up())
    await settle()
    task.cancel()
    await settle()
    assert not task.done() and len(lock.snapshot()) == 1
    task.cancel()
    await asyncio.wait([task])
    await holder.leave()
    nothing_is_left(lock)


async def test_11_a_cancellation_that_is_swallowed_allows_another_try() -> None:
    """A task that survives a cancellation may request again, at the end of the line."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    order: list[str] = []

    async def stubborn() -> None:
        manager = lock(write=[A])
        with contextlib.suppress(asyncio.CancelledError):
            await manager.__aenter__()
        async with manager:
            order.append("stubborn")

    async def patient() -> None:
        async with lock(write=[A]):
            order.append("patient")

    tasks = [asyncio.ensure_future(stubborn())]
    await settle()
    tasks.append(asyncio.ensure_future(patient()))
    await settle()
    tasks[0].cancel()
    await settle()
    await holder.leave()
    await asyncio.gather(*tasks)
    assert order == ["patient", "stubborn"]
    nothing_is_left(lock)


@pytest.mark.parametrize("through", [None, through_wait_for])
async def test_11_cancelled_at_every_turn(through: Any) -> None:
    """In whatever turn a task is cancelled, and cancelled again, nothing is lost.

    The release comes at every turn too, so that cancel and release meet in every possible way.
    """
    for release_at, cancel_at, again in itertools.product(range(6), range(8), [None, 0, 1, 2]):
        cancels = [cancel_at] if again is None else [cancel_at, cancel_at + again]
        lock = TreeLock()
        await release_and_cancel(lock, release_at, cancels, through)
        nothing_is_left(lock)


async def release_and_cancel(
    lock: TreeLock, release_at: int, cancels: list[int], through: Any
) -> None:
    """A holder exits at one turn, a visitor is cancelled at others, and a third waits for both."""
    holder = lock(read=[A], write=[B])
    await holder.__aenter__()

    async def stay_for_two_turns() -> None:
        manager = lock(read=[B], write=[A_B])
        entering = manager.__aenter__()
        await (entering if through is None else through(entering))
        try:
            await settle(2)
        finally:
            await manager.__aexit__(None, None, None)

    task = asyncio.ensure_future(stay_for_two_turns())
    behind = lock(write=[A, B])
    for turn in range(12):
        if turn == 3:
            third = Visit(behind)
        if turn == release_at:
            await holder.__aexit__(None, None, None)
        for _ in range(cancels.count(turn)):
            task.cancel()
        await asyncio.sleep(0)
    await settle()
    assert task.done() and third.inside, (release_at, cancels)
    await third.leave()


def by_close(entering: Any) -> None:
    entering.close()


def by_cancellation(entering: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        entering.throw(asyncio.CancelledError())


def by_another_exception(entering: Any) -> None:
    with pytest.raises(Broken, match=r"^thrown$"):
        entering.throw(Broken("thrown"))


def by_a_type(entering: Any) -> None:
    with pytest.raises(Broken):
        entering.throw(Broken)


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize("end", [by_close, by_cancellation, by_another_exception, by_a_type])
async def test_11_an_enter_that_is_ended_by_hand(granted: bool, end: Any) -> None:
    """``throw`` and ``close`` leave the line, and give back a grant that was not observed."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    enter_now(holder)
    entering = manager.__aenter__()
    entering.send(None)
    behind = await visit(lock(read=[A_B]))
    if granted:
        exit_now(holder)
    end(entering)
    entering.close()  # once more does nothing
    assert not manager.locked()
    if not granted:
        assert [entry.state for entry in lock.snapshot()] == ["held", "waiting"]
        exit_now(holder)
    await asyncio.sleep(0)
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("granted", [False, True])
async def test_11_an_enter_that_is_dropped(granted: bool) -> None:
    """An unreferenced enter waits for nothing and holds nothing."""
    lock = TreeLock()
    holder = lock(write=[A])
    enter_now(holder)
    entering = lock(write=[A]).__aenter__()
    entering.send(None)
    behind = await visit(lock(read=[A_B]))
    if granted:
        exit_now(holder)
    del entering
    gc.collect()
    if not granted:
        assert [entry.state for entry in lock.snapshot()] == ["held", "waiting"]
        exit_now(holder)
    await settle()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


def test_11_an_event_loop_that_ends_cancels_its_waiters() -> None:
    """Tasks that ``asyncio.run`` cancels at its end have left the lock."""
    lock = TreeLock()
    with lock(write=[A]):

        async def leave_tasks_behind() -> None:
            for _ in range(3):
                await visit(lock(write=[A]))
            assert len(lock.snapshot()) == 4

        run(leave_tasks_behind())
        assert len(lock.snapshot()) == 1
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 12

BODY_EXCEPTIONS = [
    Broken("body"),
    KeyError("body"),
    StopIteration("body"),
    StopAsyncIteration("body"),
    GeneratorExit("body"),
    asyncio.CancelledError("body"),
    KeyboardInterrupt("body"),
    SystemExit("body"),
    BaseException("body"),
]


@pytest.mark.parametrize("error", BODY_EXCEPTIONS, ids=lambda error: type(error).__name__)
async def test_12_exceptions_of_the_body_propagate_and_release(error: BaseException) -> None:
    """Whatever the body raises is passed on, the very same object, and the lock is free."""
    lock = TreeLock()
    with pytest.raises(type(error)) as caught:
        async with lock(read=[B], write=[A]):
            raise error
    assert caught.value is error
    nothing_is_left(lock)
    with pytest.raises(type(error)) as caught, lock(read=[B], write=[A]):
        raise error
    assert caught.value is error
    nothing_is_left(lock)


async def test_12_an_exception_lets_the_next_in_line_go() -> None:
    """A body that fails does not keep the others out."""
    lock = TreeLock()
    with pytest.raises(Broken):
        async with lock(write=[A]):
            waiter = await visit(lock(write=[A]))
            assert not waiter.inside
            raise Broken
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)
