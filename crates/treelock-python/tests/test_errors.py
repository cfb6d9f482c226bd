"""Errors name what is wrong, where it is used, and nothing stays locked because of them."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
import treelock
from treelock import TreeLock

from conftest import can_have, enter_now, hold, nothing_is_left

A = PurePosixPath("/a")
B = PurePosixPath("/b")

# ---------------------------------------------------------------------- arguments of the call


def given(lock: TreeLock, arguments: dict[str, Any]) -> Any:
    """Calls a lock with arguments that are chosen by name."""
    return lock(**arguments)


async def by_async_with(manager: Any) -> None:
    async with manager:
        pytest.fail("entered")


async def by_with(manager: Any) -> None:
    with manager:
        pytest.fail("entered")


async def by_acquire(manager: Any) -> None:
    manager.acquire()


async def by_acquire_without_blocking(manager: Any) -> None:
    manager.acquire(blocking=False)


async def by_acquire_with_a_timeout(manager: Any) -> None:
    manager.acquire(timeout=0)


Enter = Callable[[Any], Awaitable[None]]
each_way_in = pytest.mark.parametrize(
    "enter",
    [
        by_async_with,
        by_with,
        by_acquire,
        by_acquire_without_blocking,
        by_acquire_with_a_timeout,
    ],
)


@each_way_in
@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("wrong", [None, 5, A, 1.5, True], ids=repr)
async def test_roots_that_are_no_iterable(enter: Enter, argument: str, wrong: Any) -> None:
    """A single node where several belong, or nothing at all, is an error that names the argument.
    """
    lock = TreeLock()
    manager = given(lock, {argument: wrong})
    for _ in range(2):
        with pytest.raises(TypeError, match=argument):
            await enter(manager)
        nothing_is_left(lock)


@each_way_in
@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("strings", [False, True])
async def test_a_bare_string(enter: Enter, argument: str, strings: bool) -> None:
    """A forgotten bracket is an error that names the argument."""
    lock = TreeLock(strings=strings)
    with pytest.raises(TypeError, match=argument):
        await enter(given(lock, {argument: "/a"}))
    nothing_is_left(lock)


@each_way_in
@pytest.mark.parametrize("argument", ["read", "write"])
async def test_one_bad_argument_of_two(enter: Enter, argument: str) -> None:
    """The good one is not locked either, and is not the one that is named."""
    lock = TreeLock()
    roots: dict[str, Any] = {"read": [A], "write": [B]}
    other = "write" if argument == "read" else "read"
    roots[argument] = 5
    with pytest.raises(TypeError, match=argument) as caught:
        await enter(given(lock, roots))
    assert not re.search(rf"\b{other}\b", str(caught.value))
    nothing_is_left(lock)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, BaseException])
async def test_an_iterable_that_raises_is_not_blamed_for_what_it_is_not(error: Any) -> None:
    """An error from the code of an iterable is passed on unchanged."""
    raised = error("mine")

    class Roots:
        def __iter__(self) -> Any:
            raise raised

    lock = TreeLock()
    for enter in (by_async_with, by_with, by_acquire):
        with pytest.raises(error) as caught:
            await enter(lock(write=Roots()))
        assert caught.value is raised
        nothing_is_left(lock)


@each_way_in
@pytest.mark.parametrize("wrong", ["x", "1", b"1", [1], 1j, object()])
async def test_a_timeout_that_is_no_number(enter: Enter, wrong: Any) -> None:
    """It is a TypeError that names the argument."""
    lock = TreeLock()
    with pytest.raises(TypeError, match="timeout"):
        await enter(lock(write=[A], timeout=wrong))
    nothing_is_left(lock)


@each_way_in
@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, -math.inf], ids=repr)
async def test_a_timeout_that_means_nothing(enter: Enter, wrong: float) -> None:
    """A negative time limit, or one that is not a number, also names the argument."""
    lock = TreeLock()
    with pytest.raises(ValueError, match="timeout"):
        await enter(lock(write=[A], timeout=wrong))
    nothing_is_left(lock)


@pytest.mark.parametrize("right", [None, 0, 0.0, 1, 1.5, 10**6], ids=repr)
async def test_timeouts_that_are_fine(right: float | None) -> None:
    """None means no limit, and 0 is enough for what is free."""
    lock = TreeLock()
    async with lock(write=[A], timeout=right):
        assert not can_have(lock, read=[A])
    with lock(write=[A], timeout=right):
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


@each_way_in
@pytest.mark.parametrize("wrong", [5, b"x", ["x"], A], ids=repr)
async def test_a_label_that_is_no_string(enter: Enter, wrong: Any) -> None:
    """It is a TypeError that names the argument."""
    lock = TreeLock()
    with pytest.raises(TypeError, match="label"):
        await enter(lock(write=[A], label=wrong))
    nothing_is_left(lock)


@pytest.mark.parametrize("right", [None, "", "agent-7", "\u00e9\n\x00"], ids=repr)
async def test_labels_that_are_fine(right: str | None) -> None:
    """Any text, or None, is kept unchanged."""
    lock = TreeLock()
    async with lock(write=[A], label=right):
        assert [entry.label for entry in lock.snapshot()] == [right]
    nothing_is_left(lock)


# ---------------------------------------------------------------------- the call itself


def test_three_positional_arguments() -> None:
    """An unknown keyword is an error of the call."""
    with pytest.raises(TypeError):
        TreeLock()([], [], 5)  # type: ignore[call-arg]


def test_an_unknown_keyword() -> None:
    """A misspelt keyword is an error of the call, which names it."""
    with pytest.raises(TypeError, match="writes"):
        TreeLock()(writes=[A])  # type: ignore[call-arg]


def test_an_argument_given_twice() -> None:
    """By position and by name is once too often."""
    with pytest.raises(TypeError, match="read"):
        TreeLock()([A], read=[A])  # type: ignore[misc]


def test_context_managers_come_from_locks() -> None:
    """A context manager cannot be created without a lock."""
    with pytest.raises(TypeError):
        treelock.TreeLockContextManager()


# ---------------------------------------------------------------------- acquire and release


@pytest.mark.parametrize("timeout", [0, 1, 0.5, 100], ids=repr)
def test_a_timeout_for_what_does_not_wait(timeout: float) -> None:
    """As for ``threading.Lock``: the two arguments contradict each other."""
    lock = TreeLock()
    manager = lock(write=[A])
    with pytest.raises(ValueError, match="timeout"):
        manager.acquire(blocking=False, timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        manager.acquire(False, timeout)
    assert not manager.locked()
    nothing_is_left(lock)


@pytest.mark.parametrize("timeout", [-2, -0.5, -1.5, math.nan, -math.inf], ids=repr)
@pytest.mark.parametrize("contended", [False, True])
def test_a_timeout_of_acquire_that_means_nothing(timeout: float, contended: bool) -> None:
    """Of the negative numbers only -1 has a meaning: no limit."""
    lock = TreeLock()
    holder = lock(write=[A])
    if contended:
        holder.acquire()
    manager = lock(write=[A])
    with pytest.raises(ValueError, match="timeout"):
        manager.acquire(timeout=timeout)
    assert not manager.locked()
    if contended:
        holder.release()
    nothing_is_left(lock)


@pytest.mark.parametrize("timeout", ["1", None, [1]], ids=repr)
def test_a_timeout_of_acquire_that_is_no_number(timeout: Any) -> None:
    """It is a TypeError, and nothing is acquired."""
    lock = TreeLock()
    manager = lock(write=[A])
    with pytest.raises(TypeError):
        manager.acquire(timeout=timeout)
    assert not manager.locked()
    nothing_is_left(lock)


def test_ways_to_acquire_that_are_fine() -> None:
    """By position and by name, with and without a limit."""
    lock = TreeLock()
    manager = lock(write=[A])
    for arguments in ((), (True,), (False,), (False, -1), (True, -1), (True, 0), (True, 2.5), (1,)):
        assert manager.acquire(*arguments) is True
        assert manager.acquire(blocking=False) is False
        assert manager.acquire(timeout=0) is False
        manager.release()
        nothing_is_left(lock)


def test_acquire_knows_its_arguments() -> None:
    """It refuses unknown arguments, and acquires nothing."""
    lock = TreeLock()
    for wrong in ({"block": True}, {"blocking": True, "timeout": 1, "label": "x"}):
        with pytest.raises(TypeError):
            lock(write=[A]).acquire(**wrong)
    with pytest.raises(TypeError):
        lock(write=[A]).acquire(True, 1, 2)  # type: ignore[call-arg]
    nothing_is_left(lock)


def test_release_of_what_is_not_held() -> None:
    """It is a RuntimeError, as for Python's locks, before the first hold and after each one."""
    lock = TreeLock()
    manager = lock(write=[A])
    with pytest.raises(RuntimeError):
        manager.release()
    manager.acquire()
    manager.release()
    with pytest.raises(RuntimeError):
        manager.release()
    with manager:
        manager.release()
        nothing_is_left(lock)
    with pytest.raises(RuntimeError):
        manager.release()
    nothing_is_left(lock)


def test_release_of_what_another_holds() -> None:
    """An equal request of another holder is not released by mistake."""
    lock = TreeLock()
    with lock(write=[A]):
        with pytest.raises(RuntimeError):
            lock(write=[A]).release()
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


async def test_release_of_what_only_waits() -> None:
    """A waiter holds nothing that could be released."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    manager = lock(write=[A])
    task = asyncio.ensure_future(manager.__aenter__())
    await asyncio.sleep(0)
    assert not manager.locked()
    with pytest.raises(RuntimeError):
        manager.release()
    task.cancel()
    await asyncio.wait([task])
    await holder.leave()
    nothing_is_left(lock)


# ---------------------------------------------------------------------- in the way


@pytest.mark.parametrize("timeout", [None, 20])
async def test_blocking_a_thread_whose_event_loop_runs(timeout: float | None) -> None:
    """Anything that would stop the loop, perhaps forever, is refused at once and leaves no trace.
    """
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    manager = lock(write=[A], timeout=timeout)
    with pytest.raises(RuntimeError), manager:
        pytest.fail("entered")
    with pytest.raises(RuntimeError):
        manager.acquire()
    with pytest.raises(RuntimeError):
        manager.acquire(timeout=20)
    assert len(lock.snapshot()) == 1
    await holder.leave()
    with manager:
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


async def test_trying_in_a_thread_whose_event_loop_runs() -> None:
    """A try does not wait, and gets an answer."""
    lock = TreeLock()
    holder = await hold(lock(write=[A], label="first"))
    assert lock(write=[A]).acquire(blocking=False) is False
    assert lock(write=[A]).acquire(timeout=0) is False
    assert lock(write=[A], timeout=0).acquire() is False
    with pytest.raises(treelock.LockTimeout, match="first"), lock(write=[A], timeout=0):
        pytest.fail("entered")
    with pytest.raises(treelock.LockTimeout, match="first"):
        async with lock(write=[A], timeout=0):
            pytest.fail("entered")
    assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("timeout", [0, 0.01])
async def test_a_time_limit_that_is_over(timeout: float) -> None:
    """It can be caught as any kind of timeout error, names the blocker, and leaves nothing."""
    lock = TreeLock()
    holder = await hold(lock(write=[A], label="first"))
    for kind in (treelock.LockTimeout, TimeoutError, asyncio.TimeoutError, OSError):
        with pytest.raises(kind) as caught:
            async with lock(read=[A / "b"], timeout=timeout):
                pytest.fail("entered")
        error = caught.value
        assert isinstance(error, treelock.LockTimeout)
        assert error.blocked.wanted == ("read", A / "b")
        assert error.blocked.blocker == ("write", A)
        assert error.blocked.label == "first" and error.blocked.state == "held"
        assert error.blocked.ahead == 1
        assert "first" in str(error) and "/a" in str(error)
        assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("enter_it", [lambda manager: manager.acquire(), enter_now])
def test_a_generator_that_is_exhausted_when_it_is_given(enter_it: Any, argument: str) -> None:
    """It once had roots; locking nothing instead would be no lock at all."""
    lock = TreeLock()
    generator = (node for node in [A])
    assert list(generator) == [A]
    manager = given(lock, {argument: generator})
    for message in ["exhausted", "failed when it was first read"]:
        with pytest.raises((ValueError, RuntimeError), match=message):
            enter_it(manager)
    nothing_is_left(lock)
