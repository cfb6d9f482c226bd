"""Points 7 to 10 of the contract: entering and exiting in tasks, and the turns of the event loop.

An enter is lazy and supports everything that asyncio does with coroutines. If nothing is in the
way, it takes no turn of the loop; from the last release to the waiter it takes one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import (
    Broken,
    can_have,
    enter_now,
    exit_now,
    finishes_at_once,
    hold,
    nothing_is_left,
    settle,
    through_wait_for,
    visit,
)
from nodes import A_B, ROOT, A, B, C

# ------------------------------------------------------------------------------------------ 7


async def test_07_nothing_is_acquired_before_the_first_step() -> None:
    """An enter that is never started has no place in line."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering = manager.__aenter__()
    assert can_have(lock, write=[A])
    nothing_is_left(lock)
    await entering
    assert not can_have(lock, write=[A])
    exit_now(manager)


async def test_07_the_place_in_line_is_taken_at_the_first_step() -> None:
    """Of two enters, the one that is started first is first."""
    lock = TreeLock()
    made_first, made_second = lock(write=[A]), lock(write=[A])
    entering_late = made_first.__aenter__()
    enter_now(made_second)
    assert not finishes_at_once(entering_late)
    exit_now(made_second)
    nothing_is_left(lock)


async def test_07_an_enter_that_was_closed_before_it_began_does_nothing() -> None:
    """It cannot be started any more either."""
    lock = TreeLock()
    entering = lock(write=[A]).__aenter__()
    entering.close()
    nothing_is_left(lock)
    with pytest.raises(RuntimeError):
        entering.send(None)
    nothing_is_left(lock)


async def test_07_an_enter_is_good_for_one_time() -> None:
    """An enter that has been awaited does not lock again."""
    lock = TreeLock()
    manager = lock(read=[A])
    entering = manager.__aenter__()
    await entering
    with pytest.raises(RuntimeError):
        await entering
    assert len(lock.snapshot()) == 1
    exit_now(manager)
    nothing_is_left(lock)


async def test_07_the_awaitable_is_a_coroutine_to_asyncio() -> None:
    """asyncio looks for these methods before it accepts something as a coroutine."""
    entering = TreeLock()(write=[A]).__aenter__()
    assert asyncio.iscoroutine(entering)
    for method in ("send", "throw", "close", "__await__"):
        assert callable(getattr(entering, method))
    entering.close()


async def through_create_task(entering: Any) -> None:
    await asyncio.create_task(entering)


async def through_ensure_future(entering: Any) -> None:
    await asyncio.ensure_future(entering)


async def through_shield(entering: Any) -> None:
    await asyncio.shield(entering)


async def through_gather(entering: Any) -> None:
    await asyncio.gather(entering, asyncio.sleep(0))


async def through_the_protocol(entering: Any) -> None:
    class Wrapped:
        def __await__(self) -> Any:
            return entering.__await__()

    await Wrapped()


THROUGH = [
    through_create_task,
    through_ensure_future,
    through_wait_for,
    through_shield,
    through_gather,
    through_the_protocol,
]


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("contended", [False, True])
async def test_07_enter_and_exit_go_through_asyncio(through: Any, contended: bool) -> None:
    """Whatever asyncio does with coroutines works with these, at once or after a wait."""
    lock = TreeLock()
    holder = await hold(lock(write=[A] if contended else [B]))
    manager = lock(write=[A])
    entering = asyncio.ensure_future(through(manager.__aenter__()))
    await settle()
    assert entering.done() is not contended
    await holder.leave()
    await entering
    assert not can_have(lock, read=[A])
    await through(manager.__aexit__(None, None, None))
    nothing_is_left(lock)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in Python 3.11")
async def test_07_asyncio_timeout_takes_the_waiter_out_of_the_line() -> None:
    """The event loop's own time limit is one way to limit the wait."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), lock(write=[A]):
            pytest.fail("entered")
    assert len(lock.snapshot()) == 1
    await holder.leave()
    async with asyncio.timeout(20), lock(write=[A]):
        pass
    nothing_is_left(lock)


async def test_07_wait_for_takes_the_waiter_out_of_the_line() -> None:
    """The older function is another."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(lock(write=[A]).__aenter__(), 0.01)
    assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


async def test_07_exit_stacks() -> None:
    """A stack enters and exits like ``async with``, even when its body raises."""
    lock = TreeLock()
    with pytest.raises(Broken):
        async with contextlib.AsyncExitStack() as stack:
            for path in (A, B):
                entered: Any = await stack.enter_async_context(lock(write=[path]))
                assert entered is None
            stack.enter_context(lock(write=[C]))
            assert not any(can_have(lock, read=[path]) for path in (A, B, C))
            raise Broken
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 8


async def test_08_as_gives_none() -> None:
    """Entering returns nothing."""
    lock = TreeLock()
    async with lock(write=[A]) as value:
        assert value is None
    with lock(write=[A]) as value:
        assert value is None


async def test_08_exit_never_suppresses() -> None:
    """An exit returns a false value, so the exception propagates."""
    lock = TreeLock()
    manager = lock(write=[A])
    error = Broken()
    for details in ((None, None, None), (Broken, error, None)):
        await manager.__aenter__()
        assert not await manager.__aexit__(*details)  # type: ignore[func-returns-value]
        manager.__enter__()
        assert not manager.__exit__(*details)  # type: ignore[func-returns-value]
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 9


@pytest.mark.parametrize("roots", [0, 1, 100])
async def test_09_uncontended_enter_and_exit_finish_in_their_first_step(roots: int) -> None:
    """Their first step raises StopIteration, with no value."""
    lock = TreeLock()
    write = [PurePosixPath(f"/w/{number}/x") for number in range(roots)]
    read = [PurePosixPath(f"/r/{number}/x") for number in range(roots)]
    manager = lock(read, write)
    for _ in range(3):
        with pytest.raises(StopIteration) as entered:
            manager.__aenter__().send(None)
        assert entered.value.value is None
        with pytest.raises(StopIteration) as left:
            manager.__aexit__(None, None, None).send(None)
        assert not left.value.value
    nothing_is_left(lock)


async def test_09_the_event_loop_does_not_turn_meanwhile() -> None:
    """A callback that the loop was to call soon has not run after a whole ``async with``."""
    lock = TreeLock()
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    for _ in range(3):
        async with lock(read=[A], write=[B]):
            assert not turned
    async with lock(read=[ROOT]), lock(read=[ROOT]):
        assert not turned
    assert not turned
    await asyncio.sleep(0)
    assert turned


async def test_09_an_exit_that_wakes_others_takes_no_turn_either() -> None:
    """It does not wait for a hundred waiters."""
    lock = TreeLock()
    manager = lock(write=[A])
    await manager.__aenter__()
    waiters = [await visit(lock(read=[A])) for _ in range(100)]
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    exit_now(manager)
    assert not turned
    await settle()
    for waiter in waiters:
        await waiter.leave()
    nothing_is_left(lock)


async def test_09_an_exit_by_an_exception_takes_no_turn() -> None:
    """An exit that is caused by an exception takes no turn either."""
    lock = TreeLock()
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    with pytest.raises(Broken):
        async with lock(write=[A]):
            raise Broken
    assert not turned
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 10


async def test_10_one_turn_from_release_to_waiter() -> None:
    """After the release and one turn of the loop the waiter runs; before that turn it does not."""
    lock = TreeLock()
    holder = lock(write=[A])
    await holder.__aenter__()
    waiter = await visit(lock(write=[A]))
    await holder.__aexit__(None, None, None)
    assert not waiter.inside
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


async def test_10_one_turn_for_all_who_can_go() -> None:
    """All readers behind a writer run in the same turn."""
    lock = TreeLock()
    holder = lock(write=[ROOT])
    await holder.__aenter__()
    readers = [await visit(lock(read=[A])) for _ in range(20)]
    await holder.__aexit__(None, None, None)
    await asyncio.sleep(0)
    assert all(reader.inside for reader in readers)
    for reader in readers:
        await reader.leave()


async def test_10_one_turn_from_the_last_of_several_blockers() -> None:
    """A waiter with many roots in many places does not take one turn for each."""
    lock = TreeLock()
    holders = [lock(write=[path]) for path in (A_B, B, C)]
    for holder in holders:
        await holder.__aenter__()
    waiter = await visit(lock(read=[A, B], write=[C / "d", C]))
    for holder in holders:
        assert not waiter.inside
        await holder.__aexit__(None, None, None)
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()


async def test_10_one_turn_from_task_to_task() -> None:
    """A line of tasks that do nothing inside moves by one task per turn."""
    lock = TreeLock()
    inside: list[int] = []

    async def pass_through(number: int) -> None:
        async with lock(write=[A]):
            inside.append(number)

    holder = lock(write=[A])
    await holder.__aenter__()
    tasks = [asyncio.ensure_future(pass_through(number)) for number in range(10)]
    await settle()
    await holder.__aexit__(None, None, None)
    for number in range(10):
        assert inside == list(range(number))
        await asyncio.sleep(0)
    assert inside == list(range(10))
    await asyncio.gather(*tasks)


async def test_10_one_turn_from_a_release_that_is_not_awaited() -> None:
    """``with`` and ``release()`` in the thread of the loop wake its tasks just as fast."""
    lock = TreeLock()
    plain = lock(write=[A])
    for by_exit in (True, False):
        plain.__enter__()
        waiter = await visit(lock(write=[A]))
        if by_exit:
            plain.__exit__(None, None, None)
        else:
            plain.release()
        assert not waiter.inside
        await asyncio.sleep(0)
        assert waiter.inside
        await waiter.leave()
    nothing_is_left(lock)
