"""The awaitables of ``async with``, stepped by hand: they behave like coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from treelock import TreeLock

from conftest import enter_now, exit_now, nothing_is_left
from nodes import A, Name


async def test_a_value_sent_to_what_has_not_begun() -> None:
    """As with a coroutine, it is an error, and nothing has started."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    for _ in range(2):
        with pytest.raises(TypeError):
            entering.send(1)
        assert not manager.locked()
        nothing_is_left(lock)
    with pytest.raises(StopIteration):
        entering.send(None)
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


async def test_an_exception_thrown_into_what_is_over() -> None:
    """As with a coroutine, it is an error, and what was entered stays entered."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    with pytest.raises(StopIteration):
        entering.send(None)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            entering.throw(KeyError("mine"))
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


@pytest.mark.parametrize("wrong", [5, None, "x", int], ids=repr)
async def test_what_is_thrown_and_is_no_exception(wrong: Any) -> None:
    """As with a coroutine, it is an error, and the awaitable continues, whether started or not."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    enter_now(holder)
    entering: Any = manager.__aenter__()
    with pytest.raises(TypeError):
        entering.throw(wrong)
    assert entering.send(None) is not None, "it waits for a future"
    with pytest.raises(TypeError):
        entering.throw(wrong)
    assert len(lock.snapshot().waiting) == 1
    exit_now(holder)
    with pytest.raises(StopIteration):
        entering.send(None)
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


async def test_a_task_says_what_it_does() -> None:
    """The repr of a task names the method that it runs."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    task = asyncio.create_task(entering)
    assert "TreeLockContextManager.__aenter__" in repr(task)
    await task
    exit_now(manager)
    nothing_is_left(lock)


async def test_an_awaitable_that_is_stepped_by_hand_and_then_awaited() -> None:
    """A task may come back to it before it is granted; then the task sleeps again."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()
    entering: Any = manager.__aenter__()
    future = entering.send(None)
    future._asyncio_future_blocking = False  # as the task does that gets it
    asyncio.get_running_loop().call_later(0.01, holder.release)
    await entering
    manager.release()
    nothing_is_left(lock)


def test_an_awaitable_that_is_closed_while_it_is_stepped() -> None:
    """Like a coroutine, it refuses, and what it is about to hold is held."""
    lock = TreeLock()
    refused: list[str] = []
    entering: Any = None

    class Closing(Name):
        __hash__ = Name.__hash__

        @property
        def parents(self) -> Any:
            for end in (
                entering.close,
                lambda: entering.throw(KeyError()),
                lambda: entering.send(None),
            ):
                with pytest.raises(RuntimeError, match="already being stepped"):
                    end()
                refused.append("refused")
            return ()

    manager: Any = lock(write=[Closing("a")])
    entering = manager.__aenter__()
    with pytest.raises(StopIteration):
        entering.send(None)
    assert len(refused) == 3 and manager.locked()
    manager.release()
    nothing_is_left(lock)
