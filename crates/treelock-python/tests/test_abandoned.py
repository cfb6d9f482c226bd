"""Tasks that wait and are forgotten, and event loops that end while they wait."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from treelock import TreeLock

from leaks import LONG_SECONDS, SHORT_SECONDS, Node, all_dead, pass_through, run
from tasks import started, turns


@pytest.mark.parametrize("outcome", ["granted", "cancelled", "timeout", "left waiting"])
def test_loop_and_task_die_after_use(outcome: str) -> None:
    """A lock lives longer than the loops that used it."""
    lock = TreeLock()
    references: list[weakref.ref[Any]] = []
    timeout = SHORT_SECONDS if outcome == "timeout" else None

    async def main() -> None:
        async with lock(write=[Node("a")]):
            task = await started(pass_through(lock(write=[Node("a")], timeout=timeout)))
            references.extend([weakref.ref(task), weakref.ref(asyncio.get_running_loop())])
            if outcome == "cancelled":
                task.cancel()
            if outcome == "timeout":
                await asyncio.gather(task, return_exceptions=True)
        if outcome == "granted":
            await task

    run(main())
    assert all_dead(references)
    assert len(lock.snapshot()) == 0


async def quiet_visit(manager: Any) -> None:
    """Does what ``pass_through`` does, in a task that asyncio destroys without a complaint."""
    task: Any = asyncio.current_task()
    task._log_destroy_pending = False
    await pass_through(manager)


def abandon(lock: TreeLock, **request: Any) -> list[weakref.ref[Any]]:
    """Leaves a task in line whose loop is closed; returns references to both."""
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(start(lock(**request)))
    references: list[weakref.ref[Any]] = [weakref.ref(task), weakref.ref(loop)]
    loop.close()
    return references


async def start(manager: Any) -> asyncio.Task[Any]:
    """Returns a task that waits."""
    return await started(quiet_visit(manager))


@pytest.mark.parametrize("timeout", [None, LONG_SECONDS])
def test_a_waiter_of_a_closed_loop_is_collected(timeout: float | None) -> None:
    """Nothing refers to the loop or to the task except the queue, which it leaves."""
    lock, node = TreeLock(), Node("a")
    reader = lock(read=[node])
    with reader:
        references = abandon(lock, write=[node], timeout=timeout)
        assert all_dead(references)
        assert lock.snapshot().waiting == ()
        with lock(read=[node], timeout=0):
            assert len(lock.snapshot().held) == 2


def test_those_behind_a_collected_waiter_go_on() -> None:
    """They are woken by the collection, since no release comes."""
    lock, node = TreeLock(), Node("a")

    async def main() -> None:
        behind = await started(pass_through(lock(read=[node])))
        assert not behind.done()
        gc.collect()
        await behind

    with lock(read=[node]):
        gc.disable()
        try:
            references = abandon(lock, write=[node])
            run(main())
        finally:
            gc.enable()
    assert all_dead(references)


def test_an_abandoned_waiter_dies_with_its_lock() -> None:
    """Everything is one cycle of lock, queue, future, task and coroutine."""
    lock, node = TreeLock(), Node("a")
    holder = lock(read=[node])
    holder.acquire()
    references = abandon(lock, write=[node]) + [weakref.ref(lock), weakref.ref(node)]
    holder.release()
    del lock, holder, node
    assert all_dead(references)


def test_a_waiter_that_nobody_refers_to_is_kept_while_its_loop_lives() -> None:
    """As with asyncio's locks, a task that was only created is kept alive by what it waits for."""
    lock, node = TreeLock(), Node("a")
    seen: list[str] = []

    async def tell(manager: Any) -> None:
        async with manager:
            seen.append("granted")

    async def main() -> None:
        async with lock(write=[node]):
            for timeout in (None, LONG_SECONDS):
                asyncio.create_task(tell(lock(write=[node], timeout=timeout)))
            await turns(3)
            for _ in range(3):
                gc.collect()
            assert len(lock.snapshot().waiting) == 2
        await turns(6)

    run(main())
    assert seen == ["granted", "granted"]


@pytest.mark.parametrize("step", ["before the first step", "in line", "granted"])
def test_a_dropped_awaitable_leaves(step: str) -> None:
    """It is stepped by hand and dropped without ``close``, wherever it is."""
    lock, node = TreeLock(), Node("a")

    async def main() -> None:
        holder = lock(write=[node])
        await holder.__aenter__()
        manager = lock(write=[node])
        awaitable: Any = manager.__aenter__()
        if step != "before the first step":
            awaitable.send(None)
            assert len(lock.snapshot().waiting) == 1
        if step == "granted":
            holder.release()
            assert len(lock.snapshot().held) == 1
        del awaitable
        gc.collect()
        assert lock.snapshot().waiting == ()
        if step != "granted":
            holder.release()
        assert len(lock.snapshot()) == 0
        assert not manager.locked()

    run(main())
