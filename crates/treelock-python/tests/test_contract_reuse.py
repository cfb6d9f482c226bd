"""Points 13 to 15 of the contract: what a context manager requests each time it is entered.

It can be entered again, by others, and elsewhere. It reads its roots each time. It has no owner.
And it is never in its own way.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import (
    Broken,
    can_have,
    enter,
    exit_in,
    exit_now,
    finishes_at_once,
    given,
    hold,
    in_thread,
    nothing_is_left,
    run,
    settle,
    visit,
)
from nodes import A_B, ROOT, A, B, C, Name

# ----------------------------------------------------------------------------------------- 13


async def test_13_a_context_manager_can_be_entered_again() -> None:
    """After an exit it is as good as new, even after an exception or a cancellation."""
    lock = TreeLock()
    manager = lock(write=[A])
    for _ in range(3):
        async with manager:
            assert not can_have(lock, read=[A])
        with manager:
            assert not can_have(lock, read=[A])
        with pytest.raises(Broken):
            async with manager:
                raise Broken
        holder = await hold(lock(read=[A]))
        await (await visit(manager)).cancel()
        await holder.leave()
        nothing_is_left(lock)


def test_13_roots_are_read_again_each_time() -> None:
    """A list that was changed is locked as it is now."""
    lock = TreeLock()
    read, write = [A], [B]
    manager = lock(read, write)
    with manager:
        assert not can_have(lock, write=[A])
    read[:], write[:] = [], [C]
    with manager:
        assert can_have(lock, write=[A, B])
        assert not can_have(lock, read=[C])
    write.append(A)
    with manager:
        assert not can_have(lock, read=[C])
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


def test_13_a_list_changed_while_it_is_held_changes_nothing() -> None:
    """What is held and later released is what was requested."""
    lock = TreeLock()
    roots = [A]
    with lock(write=roots):
        roots[:] = [B]
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


async def test_13_a_list_changed_while_it_waits_changes_nothing() -> None:
    """A waiting request requests what the list was when it took its place in line."""
    lock = TreeLock()
    roots = [A]
    holder = await hold(lock(write=[A]))
    waiter = await visit(lock(write=roots))
    roots[:] = [B]
    await holder.leave()
    await settle()
    assert waiter.inside
    assert not can_have(lock, read=[A]) and can_have(lock, write=[B])
    await waiter.leave()
    nothing_is_left(lock)


ONE_SHOT: dict[str, Callable[[list[Any]], Any]] = {
    "generator": lambda nodes: (node for node in nodes),
    "iterator": iter,
    "map": lambda nodes: map(PurePosixPath, nodes),
    "reversed": reversed,
}


@pytest.mark.parametrize("make", ONE_SHOT.values(), ids=ONE_SHOT)
def test_13_a_spent_iterator_locks_what_it_locked_before(
    make: Callable[[list[Any]], Any],
) -> None:
    """The second and the third enter lock what the first locked."""
    lock = TreeLock()
    manager = lock(make([A_B, B]), make([C]))
    for _ in range(3):
        with manager:
            assert can_have(lock, read=[A, B])
            assert not can_have(lock, write=[A_B])
            assert not can_have(lock, write=[B])
            assert not can_have(lock, read=[C])
        nothing_is_left(lock)


async def test_13_a_spent_iterator_after_a_cancelled_wait() -> None:
    """An enter that was not granted has also read the iterator."""
    lock = TreeLock()
    manager = lock(write=(path for path in [A, B]))
    holder = await hold(lock(write=[B]))
    await (await visit(manager)).cancel()
    with pytest.raises(RuntimeError), manager:  # a running loop does not wait
        pytest.fail("entered")
    assert not manager.acquire(blocking=False)
    await holder.leave()
    async with manager:
        assert not can_have(lock, read=[A])
        assert not can_have(lock, read=[B])
    nothing_is_left(lock)


def roots_then_error() -> Iterator[PurePosixPath]:
    yield A
    raise Broken("midway")


def roots_then_no_node() -> Iterator[Any]:
    yield A
    yield object()
    yield B


def error_at_once() -> Iterator[PurePosixPath]:
    raise Broken("at once")
    yield A


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("roots", [roots_then_error, roots_then_no_node, error_at_once])
def test_13_a_generator_that_failed_never_locks_less(argument: str, roots: Any) -> None:
    """A generator that raised is finished, and finished looks like empty: it must raise again."""
    lock = TreeLock()
    manager = given(lock, {argument: roots()})
    with pytest.raises((Broken, AttributeError)), manager:
        pytest.fail("entered")
    for _ in range(3):
        with pytest.raises((Broken, AttributeError, RuntimeError)), manager:
            pytest.fail("entered with fewer roots than it was given")
        nothing_is_left(lock)


@pytest.mark.parametrize("roots", [roots_then_error, roots_then_no_node, error_at_once])
async def test_13_a_generator_that_failed_never_locks_less_in_a_loop(roots: Any) -> None:
    """The same with ``async with``."""
    lock = TreeLock()
    manager = lock(write=roots())
    for _ in range(3):
        with pytest.raises((Broken, AttributeError, RuntimeError)):
            async with manager:
                pytest.fail("entered with fewer roots than it was given")
        nothing_is_left(lock)


def test_13_one_argument_fails_and_the_other_is_an_iterator() -> None:
    """An iterator is not forgotten because the other argument was wrong."""
    lock = TreeLock()
    for first, second in (("read", "write"), ("write", "read")):
        bad: list[Any] = [object()]
        manager = given(lock, {first: iter([A]), second: bad})
        with pytest.raises(AttributeError), manager:
            pytest.fail("entered")
        bad[:] = [B]
        with manager:
            assert not can_have(lock, write=[A])
            assert not can_have(lock, write=[B])
        nothing_is_left(lock)


async def test_13_writers_with_one_context_manager_take_turns() -> None:
    """Two tasks that use the same context manager count as two, and exclude each other."""
    lock = TreeLock()
    shared = lock(write=[A])
    first = await hold(shared)
    second = await visit(shared)
    third = await visit(shared)
    assert not second.inside and not third.inside
    await first.leave()
    await settle()
    assert second.inside and not third.inside
    assert not can_have(lock, read=[A])
    await second.leave()
    await settle()
    assert third.inside
    await third.leave()
    nothing_is_left(lock)


async def test_13_each_of_several_readers_holds_for_itself() -> None:
    """Whichever of them exits, the others keep their locks."""
    lock = TreeLock()
    shared = lock(read=[A])
    readers = [await hold(shared) for _ in range(4)]
    for reader in (readers[1], readers[3], readers[0], readers[2]):
        assert not can_have(lock, write=[A])
        await reader.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_13_a_list_that_changes_between_the_enters_of_several_tasks(
    order: tuple[int, ...],
) -> None:
    """Each task holds what the list was when it entered, until it exits itself."""
    lock = TreeLock()
    roots: list[PurePosixPath] = []
    shared = lock(write=roots)
    visitors = []
    for path in (A, B, C):
        roots[:] = [path]
        visitors.append(await hold(shared))
    roots.clear()
    gone: set[int] = set()
    for leaving in order:
        await visitors[leaving].leave()
        gone.add(leaving)
        for number, path in enumerate((A, B, C)):
            assert can_have(lock, write=[path]) is (number in gone)
    nothing_is_left(lock)


async def test_13_nested_in_one_task() -> None:
    """The inner exit of the same context manager releases what the inner enter acquired."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    async with manager:
        roots[:] = [B]
        async with manager:
            assert not can_have(lock, read=[A])
            assert not can_have(lock, read=[B])
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


def test_13_one_context_manager_in_several_threads() -> None:
    """Each thread releases what it acquired."""
    lock = TreeLock()
    roots = [A]
    shared = lock(write=roots)
    with shared:
        roots[:] = [B]
        entered, leave = threading.Event(), threading.Event()

        def visit_b() -> None:
            with shared:
                entered.set()
                assert leave.wait(20)

        thread = threading.Thread(target=visit_b, daemon=True)
        thread.start()
        assert entered.wait(20)
        roots[:] = [C]
        assert not can_have(lock, read=[A]) and not can_have(lock, read=[B])
        leave.set()
        thread.join(20)
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 14


async def test_14_enter_in_one_task_and_exit_in_another() -> None:
    """A hold has no owner: any task that has the context manager can exit."""
    lock = TreeLock()
    manager = lock(write=[A])
    await asyncio.create_task(manager.__aenter__())
    assert not can_have(lock, read=[A])
    waiter = await visit(lock(write=[A]))
    await asyncio.create_task(exit_in(manager))
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_14_enter_in_one_thread_and_exit_in_another() -> None:
    """No thread owns it either, and the way of entering does not restrict the way of exiting."""
    lock = TreeLock()
    manager = lock(write=[A])
    manager.__enter__()
    in_thread(lambda: run(exit_in(manager)))
    nothing_is_left(lock)
    in_thread(lambda: run(enter(manager)))
    assert not can_have(lock, read=[A])
    manager.release()
    nothing_is_left(lock)


@pytest.mark.parametrize("inner", [A, A_B, ROOT])
async def test_14_not_re_entrant(inner: PurePosixPath) -> None:
    """A holder that requests something conflicting waits like any other request."""
    lock = TreeLock()
    outer = lock(write=[A])
    async with outer:
        assert not finishes_at_once(lock(write=[inner]).__aenter__())
        assert not finishes_at_once(lock(read=[inner]).__aenter__())
        assert not finishes_at_once(outer.__aenter__())
        assert not outer.acquire(blocking=False)
    nothing_is_left(lock)


async def test_14_reading_twice_is_no_conflict() -> None:
    """The same task may read what it reads."""
    lock = TreeLock()
    manager = lock(read=[A])
    async with manager, manager, lock(read=[A_B]):
        assert not can_have(lock, write=[A])
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 15

OVERLAPPING: list[Any] = [
    ROOT,
    A,
    A_B,
    A_B / "c",
    PurePosixPath("//"),
    PurePosixPath("."),
    PurePosixPath("a"),
    PurePosixPath("!a"),
    PurePosixPath(".."),
    PurePosixPath("/a/.."),
    PureWindowsPath("/A"),
    Name(),
    Name("a"),
]


def test_15_one_request_never_blocks_itself() -> None:
    """Whatever two roots it reads and whatever two it writes, it is granted at once."""
    lock = TreeLock()
    pairs = list(itertools.combinations_with_replacement(OVERLAPPING, 2))
    for read, write in itertools.product([(), *pairs], repeat=2):
        assert can_have(lock, read=read, write=write), (read, write)
    nothing_is_left(lock)


@pytest.mark.parametrize("one_shot", [False, True])
async def test_15_everything_at_once(one_shot: bool) -> None:
    """All of them, many times over, read and written, take one step."""
    lock = TreeLock()
    roots = OVERLAPPING * 3
    manager = lock(iter(roots), iter(roots)) if one_shot else lock(roots, roots)
    assert finishes_at_once(manager.__aenter__())
    assert not can_have(lock, read=[ROOT])
    exit_now(manager)
    nothing_is_left(lock)


async def test_15_a_request_that_waited_does_not_block_itself() -> None:
    """It does not block itself even after it had to wait for another request first."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    waiter = await visit(lock(read=[A, ROOT, A_B], write=[A_B, A_B, A]))
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_15_reading_above_writing() -> None:
    """A read of /a and a write of /a/b keep out readers of /a and writers below it, and no others.
    """
    lock = TreeLock()
    with lock(read=[A], write=[A_B]):
        assert not can_have(lock, read=[A])
        assert not can_have(lock, read=[A_B])
        assert not can_have(lock, read=[ROOT])
        assert not can_have(lock, write=[A / "c"])
        assert can_have(lock, read=[A / "c"])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)
