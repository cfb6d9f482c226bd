"""Where this package differs from the seed on purpose: ten failures that it does not repeat.

The numbers are those of the list in the README. Each function here takes the module, so that the
same statement is true of ours and shown to be false of the seed.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import treelock

from conftest import hold, is_free, load_seed, run, settle, visit

ROOT = PurePosixPath("/")
A = PurePosixPath("/a")
A_B = PurePosixPath("/a/b")
B = PurePosixPath("/b")
C = PurePosixPath("/c")
C_D = PurePosixPath("/c/d")


def is_seed(module: ModuleType) -> bool:
    return module.__name__ == "seed_treelock"


# ------------------------------------------- 1: one root above another, with a lesser access


async def a_writer_below_keeps_other_readers_out(module: ModuleType) -> None:
    """A read of /a with a write of /a/b changes what another reader of /a would see."""
    lock = module.TreeLock()
    await hold(lock([A], [A_B]))
    assert not await is_free(lock, read=[A])


async def a_reader_keeps_out_who_also_writes_below(module: ModuleType) -> None:
    """The same the other way round: the reader came first."""
    lock = module.TreeLock()
    await hold(lock([A], []))
    assert not await is_free(lock, read=[A], write=[A_B])


# ----------------------------------------------------------------- 2: roots from a generator


async def roots_from_a_generator_have_ancestors(module: ModuleType) -> None:
    """Roots given by a generator are all held, even against requests from above."""
    lock = module.TreeLock()
    await hold(lock([], (path for path in [A_B])))
    assert not await is_free(lock, write=[A])


async def roots_from_a_generator_are_kept_for_the_next_enter(module: ModuleType) -> None:
    """A context manager with an exhausted generator locks what it locked the first time."""
    lock = module.TreeLock()
    manager = lock([], (path for path in [A_B]))
    async with manager:
        pass
    await hold(manager)
    assert not await is_free(lock, write=[A_B])


# -------------------------------------------------------------- 3: a cancelled waiter in line


async def cancelling_a_waiter_lets_those_behind_it_go(module: ModuleType) -> None:
    """Two readers proceed together as soon as the writer in line between them has given up."""
    lock = module.TreeLock()
    await hold(lock([A], []))
    writer = await visit(lock([], [A]))
    reader = await visit(lock([A], []))
    assert not writer.inside and not reader.was_inside
    await writer.cancel()
    await settle()
    assert reader.inside


# ------------------------------------------------------------------- 4: a closed coroutine


async def a_closed_coroutine_is_out_of_the_line(module: ModuleType) -> None:
    """A coroutine closed while it waits is not granted later: the next in line is."""
    lock = module.TreeLock()
    holder = await hold(lock([], [A]))
    waiting = lock([], [A]).__aenter__()
    waiting.send(None)
    next_in_line = await visit(lock([], [A]))
    waiting.close()
    await holder.leave()
    await settle()
    assert next_in_line.inside


# ------------------------------------------------------------- 5: a node's own code that raises


class Broken(Exception):
    """The exception that a node's code raises here."""


class HalfPath(PurePosixPath):
    """A path that fails after it has named its first ancestor."""

    @property
    def parents(self) -> Iterator[PurePosixPath]:  # type: ignore[override]
        yield PurePosixPath(self).parent
        raise Broken


async def a_node_that_raises_leaves_nothing_locked(module: ModuleType) -> None:
    """An enter that failed half-way has not locked the first half."""
    lock = module.TreeLock()
    manager = lock([], [HalfPath("/a/b")])  # kept alive, so that nothing is freed with it
    with pytest.raises(Broken):
        async with manager:
            pass
    assert await is_free(lock, write=[A_B])


# ----------------------------------------------------- 6: one context manager, several tasks


async def each_task_leaves_for_itself(module: ModuleType) -> None:
    """Of two tasks inside the same context manager, the first exit leaves the other inside."""
    lock = module.TreeLock()
    shared = lock([A], [])
    first = await hold(shared)
    second = await hold(shared)
    await first.leave()
    assert second.inside
    assert not await is_free(lock, write=[A])


# --------------------------------------------------- 7: several event loops, and closed ones


class TellingSelector(selectors.DefaultSelector):
    """Reports when its event loop goes to sleep without a time to wake up."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = threading.Event()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.asleep.set()
        return super().select(timeout)


def a_waiter_in_another_thread_is_woken(module: ModuleType) -> None:
    """A release in one event loop reaches the waiter in the sleeping event loop of another thread.

    The time limit bounds only the failure.
    """
    lock = module.TreeLock()
    selector = TellingSelector()
    theirs = asyncio.SelectorEventLoop(selector)
    granted = threading.Event()
    tasks: list[asyncio.Future[None]] = []

    async def enter() -> None:
        async with lock([], [A]):
            granted.set()

    async def wait_in_line() -> None:
        tasks.append(asyncio.ensure_future(enter()))
        await asyncio.wait(tasks)

    async def hold_until_they_sleep() -> None:
        async with lock([], [A]):
            thread.start()
            assert selector.asleep.wait(20)
            assert not granted.is_set()

    thread = threading.Thread(target=lambda: theirs.run_until_complete(wait_in_line()), daemon=True)
    try:
        run(hold_until_they_sleep())
        assert granted.wait(1 if is_seed(module) else 20)
    finally:
        theirs.call_soon_threadsafe(tasks[0].cancel)
        thread.join(20)
        theirs.close()


def a_waiter_of_a_closed_loop_is_passed_over(module: ModuleType) -> None:
    """A release does not fail for a waiter whose event loop is gone, and wakes the next one."""
    lock = module.TreeLock()
    ours, theirs = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        holder = ours.run_until_complete(hold(lock([], [A])))
        lost = theirs.run_until_complete(visit(lock([], [A])))
        theirs.close()
        next_in_line = ours.run_until_complete(visit(lock([], [A])))
        ours.run_until_complete(holder.leave())
        ours.run_until_complete(settle())
        assert next_in_line.inside and not lost.was_inside
        ours.run_until_complete(next_in_line.leave())
    finally:
        theirs.close()
        ours.close()


# ------------------------------------------------------ 8: waits exactly for what conflicts


async def a_queued_request_holds_up_only_what_it_conflicts_with(module: ModuleType) -> None:
    """A reader of /c/d is unrelated to a writer of /a/b, which waits for a reader of /."""
    lock = module.TreeLock()
    await hold(lock([ROOT], []))
    writer = await visit(lock([], [A_B]))
    assert not writer.inside
    assert await is_free(lock, read=[C_D])


async def nobody_overtakes_a_request_with_several_roots(module: ModuleType) -> None:
    """A request that waits at one of its roots has its place in line at all of them."""
    lock = module.TreeLock()
    await hold(lock([], [B]))
    both = await visit(lock([], [A, B]))
    assert not both.inside
    assert not await is_free(lock, write=[A])


async def a_waiting_request_holds_nothing(module: ModuleType) -> None:
    """A request that waits at one root does not keep an earlier one from another root.

    The earlier request waits for /c only; that the later one found /b free is no reason to wait.
    """
    lock = module.TreeLock()
    at_c = await hold(lock([], [C]))
    await hold(lock([], [A]))
    earlier = await visit(lock([], [B, C]))
    later = await visit(lock([], [A, B]))
    assert not earlier.inside and not later.inside
    await at_c.leave()
    await settle()
    assert earlier.inside


# --------------------------------------------------------------------------- 9: relative paths


async def relative_paths_do_not_wait_for_themselves(module: ModuleType) -> None:
    """No order among the nodes is needed: '!' sorts before '.', which is above it."""
    lock = module.TreeLock()
    visitor = await visit(lock([], [PurePosixPath("."), PurePosixPath("!a/b")]))
    assert visitor.inside


# ------------------------------------------------------------------------ 10: many who gave up

CANCELLED = 10_000


async def those_who_gave_up_cost_the_next_release_nothing(module: ModuleType) -> None:
    """A release does not pay for waiters that were cancelled before: it does not touch them.

    This is measured in calls seen by the interpreter's profiler, since a count is the same on every
    machine. The seed makes two for each.
    """
    lock = module.TreeLock()
    manager = lock([], [A])
    await manager.__aenter__()
    waiters = [asyncio.ensure_future(lock([], [A]).__aenter__()) for _ in range(CANCELLED)]
    await settle()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert all(waiter.cancelled() for waiter in waiters)
    if hasattr(lock, "snapshot"):
        assert len(lock.snapshot()) == 1, "only the holder is left in the lock"

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    assert calls_during(leave().send) < 100
    assert await is_free(lock, write=[A])


def calls_during(send: Callable[[None], Any]) -> int:
    """Returns how many calls the profiler sees during the one and only step of a coroutine."""
    events: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _arg: events.append(event))
    try:
        send(None)
    except StopIteration:
        pass
    finally:
        sys.setprofile(before)
    return sum(event in ("call", "c_call") for event in events)


# --------------------------------------------------------------------------- ours, and the seed


class Difference(NamedTuple):
    """One of the ten, and how the seed shows it."""

    number: int
    holds: Callable[[ModuleType], Any]
    seed_raises: type[BaseException] = AssertionError


DIFFERENCES = [
    Difference(1, a_writer_below_keeps_other_readers_out),
    Difference(1, a_reader_keeps_out_who_also_writes_below),
    Difference(2, roots_from_a_generator_have_ancestors),
    Difference(2, roots_from_a_generator_are_kept_for_the_next_enter),
    Difference(3, cancelling_a_waiter_lets_those_behind_it_go),
    Difference(4, a_closed_coroutine_is_out_of_the_line),
    Difference(5, a_node_that_raises_leaves_nothing_locked),
    Difference(6, each_task_leaves_for_itself),
    Difference(7, a_waiter_in_another_thread_is_woken),
    Difference(7, a_waiter_of_a_closed_loop_is_passed_over, RuntimeError),
    Difference(8, a_queued_request_holds_up_only_what_it_conflicts_with),
    Difference(8, nobody_overtakes_a_request_with_several_roots),
    Difference(8, a_waiting_request_holds_nothing),
    Difference(9, relative_paths_do_not_wait_for_themselves),
    Difference(10, those_who_gave_up_cost_the_next_release_nothing),
]

each_difference = pytest.mark.parametrize(
    "difference",
    [pytest.param(each, id=f"{each.number}-{each.holds.__name__}") for each in DIFFERENCES],
)


def put_to_the_test(difference: Difference, module: ModuleType) -> None:
    """Runs the function, in an event loop if it is a coroutine function."""
    outcome = difference.holds(module)
    if asyncio.iscoroutine(outcome):
        run(outcome)


@each_difference
def test_ours(difference: Difference) -> None:
    """It is true of this package."""
    put_to_the_test(difference, treelock)


@each_difference
def test_seed(difference: Difference) -> None:
    """It is false of the seed, so the test above can fail and the list is not invented."""
    seed = load_seed()
    if difference.number == 9 and sys.version_info < (3, 12):
        pytest.skip("before Python 3.12 relative paths sort as the seed needs them")
    with pytest.raises(difference.seed_raises):
        put_to_the_test(difference, seed)


def test_every_number_is_here() -> None:
    """The list has ten numbers."""
    assert {each.number for each in DIFFERENCES} == set(range(1, 11))
