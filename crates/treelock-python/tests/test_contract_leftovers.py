"""Points 19 to 21 of the contract: no leaks, one exit too many, and a holder that is collected."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import Callable, Coroutine
from pathlib import PurePosixPath
from typing import Any

import pytest
import treelock
from treelock import TreeLock

from conftest import can_have, exit_now, hold, nothing_is_left, settle, visit
from nodes import ROOT, A, Name

# ----------------------------------------------------------------------------------------- 19


MANY = 1_000


async def growth(work: Callable[[int], Coroutine[Any, Any, None]]) -> tuple[int, int]:
    """Returns how much the tracked objects and the allocated blocks grew, without a collection.

    The first runs are not counted: they fill the lists of free objects that Python itself keeps.
    Nor are the parts of paths, which pathlib interns, on Python 3.12 forever.
    """
    for number in range(-200, 2 * MANY):
        hash(own_path(number))
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            await work(-1 - number)
        before = len(gc.get_objects()), sys.getallocatedblocks()
        for number in range(MANY):
            await work(number)
        after = len(gc.get_objects()), sys.getallocatedblocks()
    finally:
        gc.enable()
    return after[0] - before[0], after[1] - before[1]


def own_path(number: int) -> PurePosixPath:
    return PurePosixPath(f"/{number % 50}/x/{number}")


def own_name(number: int) -> Name:
    return Name(str(number), "x", str(number))


@pytest.mark.parametrize("node", [own_path, own_name])
async def test_19_nothing_is_left_of_many_distinct_enters(node: Callable[[int], Any]) -> None:
    """A thousand enters, each with other nodes, leave less than one object per ten of them."""
    lock = TreeLock()

    async def work(number: int) -> None:
        async with lock(read=[node(2 * number)], write=[node(2 * number + 1)]):
            pass

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    nothing_is_left(lock)


@pytest.mark.parametrize("node", [own_path, own_name])
async def test_19_nothing_is_left_of_many_cancelled_waits(node: Callable[[int], Any]) -> None:
    """A thousand tasks that wait and are cancelled leave nothing either."""
    lock = TreeLock()
    holder = await hold(lock(write=[ROOT, Name()]))

    async def work(number: int) -> None:
        task = asyncio.ensure_future(lock(write=[node(number)], label=str(number)).__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


async def test_19_nothing_is_left_of_many_failures() -> None:
    """Refused requests and bad arguments leave nothing either."""
    lock = TreeLock()
    holder = await hold(lock(write=[ROOT]))

    async def work(number: int) -> None:
        assert not lock(write=[own_path(number)]).acquire(blocking=False)
        try:
            async with lock(write=[own_path(number)], timeout=0, label=str(number)):
                pytest.fail("entered")
        except treelock.LockTimeout:
            pass
        try:
            async with lock(write=[own_name(number), object()]):  # type: ignore[list-item]
                pytest.fail("entered")
        except AttributeError:
            pass

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    await holder.leave()
    nothing_is_left(lock)


async def test_19_nodes_and_context_managers_die_at_once() -> None:
    """After the exit the lock refers to no node, no ancestor and no context manager."""
    lock = TreeLock()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Ancestor:
        def __init__(self, key: int) -> None:
            self.key = key
            alive.add(self)

    class Node(Ancestor):
        @property
        def parents(self) -> list[Ancestor]:
            return [Ancestor(-1), Ancestor(-2)]

    gc.disable()
    try:
        manager = lock(write=[Node(1)], read=iter([Node(2)]))
        alive.add(manager)
        async with manager:
            assert len(alive) > 0
        del manager
        assert len(alive) == 0
    finally:
        gc.enable()


class Counted:
    """A node that counts the calls of its class."""

    hashed = 0
    compared = 0

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        Counted.hashed += 1
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return isinstance(other, Counted) and self.parts == other.parts

    @property
    def parents(self) -> list[Counted]:
        return [Counted(*self.parts[:length]) for length in range(len(self.parts))]


def test_19_the_cost_does_not_depend_on_what_else_is_held() -> None:
    """Nodes are hashed and compared as often with a thousand locks held as with one."""

    def questions() -> tuple[int, int]:
        Counted.hashed = Counted.compared = 0
        with lock(write=[Counted(0, -1, -1)]):
            pass
        return Counted.hashed, Counted.compared

    lock = TreeLock()
    held = [lock(write=[Counted(0, number, 0)]) for number in range(MANY)]
    held[0].acquire()
    with_one = questions()
    for manager in held[1:]:
        manager.acquire()
    assert questions() == with_one
    for manager in held:
        manager.release()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 20


async def test_20_an_exit_without_an_enter_is_silent() -> None:
    """It does nothing, however often it is called, and leaves alone what others hold."""
    lock = TreeLock()
    manager = lock(write=[A])
    async with lock(write=[A]):
        for _ in range(3):
            assert not await manager.__aexit__(None, None, None)  # type: ignore[func-returns-value]
            assert not manager.__exit__(None, None, None)  # type: ignore[func-returns-value]
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


async def test_20_a_second_exit_is_silent() -> None:
    """It neither raises nor releases what another task has entered since."""
    lock = TreeLock()
    manager = lock(write=[A])
    async with manager:
        pass
    with lock(write=[A]):
        await manager.__aexit__(None, None, None)
        manager.__exit__(None, None, None)
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)
    async with manager:
        await manager.__aexit__(None, None, None)
        nothing_is_left(lock)
    nothing_is_left(lock)


async def test_20_an_exit_while_it_waits_is_silent() -> None:
    """A task that only waits is not inside, and keeps waiting."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    manager = lock(write=[A])
    waiter = await visit(manager)
    exit_now(manager)
    assert len(lock.snapshot().waiting) == 1
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 21


def forget(managers: list[Any]) -> None:
    """Drops the only references to holders, and collects what is left in cycles."""
    managers.clear()
    gc.collect()


def entered_and_forgotten(lock: TreeLock, times: int = 1) -> None:
    """Enters and drops the only reference."""
    manager = lock(read=[A])
    for _ in range(times):
        manager.__enter__()
    del manager
    gc.collect()


@pytest.mark.parametrize("times", [1, 3])
def test_21_what_is_collected_while_it_holds_releases_and_warns(times: int) -> None:
    """It can no longer be exited; that is a mistake, but not made worse."""
    lock = TreeLock()
    with pytest.warns(ResourceWarning):
        entered_and_forgotten(lock, times)
    nothing_is_left(lock)


async def test_21_entered_in_an_event_loop() -> None:
    """The tasks that waited for it proceed."""
    lock = TreeLock()
    managers = [lock(write=[A])]
    await managers[0].__aenter__()
    waiter = await visit(lock(write=[A]))
    with pytest.warns(ResourceWarning):
        forget(managers)
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_21_in_a_cycle() -> None:
    """The garbage collector also releases and warns."""
    lock = TreeLock()

    class Roots(list):  # type: ignore[type-arg]
        pass

    cycles: list[Any] = [Roots([A])]
    cycles[0].manager = lock(write=cycles[0])
    cycles[0].manager.acquire()
    with pytest.warns(ResourceWarning):
        forget(cycles)
    nothing_is_left(lock)


def test_21_a_warning_that_is_an_error_does_not_keep_the_lock() -> None:
    """With ``-W error`` the warning is an uncatchable exception; nothing worse happens."""
    lock = TreeLock()
    unraisable: list[Any] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda argument: unraisable.append(argument.exc_type)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            entered_and_forgotten(lock)
    finally:
        sys.unraisablehook = hook
    assert unraisable == [ResourceWarning]
    nothing_is_left(lock)


async def test_21_dropped_in_another_thread() -> None:
    """It does not matter to a waiter where the holder is collected."""
    lock = TreeLock()
    managers = [lock(write=[A])]
    await managers[0].__aenter__()
    waiter = await visit(lock(write=[A]))
    with pytest.warns(ResourceWarning):
        await asyncio.get_running_loop().run_in_executor(None, forget, managers)
    waiter.let_go()
    await waiter.task
    nothing_is_left(lock)


async def test_21_nothing_is_said_if_all_was_left() -> None:
    """Exits, cancellation and failure give no warning."""
    lock = TreeLock()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        async with lock(write=[A]):
            await (await visit(lock(write=[A]))).cancel()
            assert not lock(write=[A]).acquire(blocking=False)
        with pytest.raises(AttributeError):
            async with lock(write=[object()]):  # type: ignore[list-item]
                pytest.fail("entered")
        await (await hold(lock(write=[A]))).cancel()
        gc.collect()
    assert not [each for each in said if issubclass(each.category, ResourceWarning)]
    nothing_is_left(lock)


async def test_21_a_lock_that_is_forgotten_is_no_mistake() -> None:
    """A context manager outlives its lock, and dropping it gives no warning."""
    manager = TreeLock()(write=[A])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with manager:
            gc.collect()
            assert manager.locked()
            assert not manager.acquire(blocking=False)
        assert not manager.locked()
        del manager
        gc.collect()
