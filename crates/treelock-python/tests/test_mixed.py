"""Paths among objects that equal them: one node, whichever comes first and however it is given.

From the first such object on, the lock has to look at its paths differently. In between, the code
of pathlib and of the objects runs, and with each call another thread may run.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath
from types import FrameType
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from conftest import can_have, in_thread, nothing_is_left
from nodes import ROOT


class Same:
    """A node of a different type than the path that it equals."""

    def __init__(self, text: str) -> None:
        self.path = PurePosixPath(text)

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return self.path == (other.path if isinstance(other, Same) else other)

    @property
    def parents(self) -> Any:
        return tuple(self.path.parents)


Kind = Callable[[str], Any]
KINDS: list[Kind] = [PurePosixPath, Same]
BOTH_ORDERS: list[tuple[Kind, Kind]] = [(PurePosixPath, Same), (Same, PurePosixPath)]


def excludes(lock: TreeLock, text: str) -> None:
    """Asserts that a node is written, under whichever name it is requested."""
    for kind in KINDS:
        assert not can_have(lock, read=[kind(text)]), kind


def works(lock: TreeLock) -> None:
    """Asserts that an idle lock treats a path and an equal object as one node."""
    nothing_is_left(lock)
    for kind in KINDS:
        with lock(write=[kind("/z")]):
            excludes(lock, "/z")
        nothing_is_left(lock)
    assert can_have(lock, write=[ROOT])


def acquire(manager: Any, number: int, act: Callable[[], None]) -> tuple[bool, bool]:
    """Tries to acquire, and calls ``act`` just before one call of Python code.

    The calls are counted from 0. Returns whether it was granted, and whether that call happened.
    """
    calls = itertools.count()
    done = False

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal done
        if next(calls) == number:
            done = True
            act()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        granted = manager.acquire(blocking=False)
    finally:
        sys.settrace(before)
    return granted, done


def here(act: Callable[[], None]) -> None:
    act()


# What is held at first, if anything; it is released in between.
FIRST: dict[str, Callable[[], list[Any]]] = {
    "nothing": list,
    "a path": lambda: [PurePosixPath("/h")],
    "an equal object": lambda: [Same("/h")],
    "both": lambda: [PurePosixPath("/h/a"), Same("/h/b")],
}

# What is being entered, given the kind of the node in question.
ENTERED: dict[str, Callable[[Kind], list[Any]]] = {
    "alone": lambda kind: [kind("/p")],
    "before others": lambda kind: [kind("/p"), Same("/q"), Same("/r")],
    "after others": lambda kind: [Same("/q"), PurePosixPath("/r"), kind("/p")],
}


@pytest.mark.parametrize(
    ("first", "where"),
    [(first, here) for first in FIRST] + [("a path", in_thread)],
)
@pytest.mark.parametrize("entered", ENTERED)
@pytest.mark.parametrize("kinds", BOTH_ORDERS, ids=["path in between", "object in between"])
def test_somebody_else_in_the_middle_of_an_enter(
    first: str,
    where: Callable[[Callable[[], None]], None],
    entered: str,
    kinds: tuple[Kind, Kind],
) -> None:
    """In the middle of an enter, the holder exits, and another task takes an equal node.

    This is tried at every call of Python code; everything the lock does is between these.
    """
    for number in itertools.count():
        lock = TreeLock()
        holder = lock(write=FIRST[first]())
        holder.acquire()
        inner = lock(write=[kinds[0]("/p")])
        outer = lock(write=ENTERED[entered](kinds[1]))

        def act(holder: Any = holder, inner: Any = inner) -> None:
            holder.release()
            inner.acquire(blocking=False)

        def switch(act: Callable[[], None] = act) -> None:
            where(act)

        granted, done = acquire(outer, number, switch)
        if not done:
            assert granted
            outer.release()
            holder.release()
            break
        assert inner.locked() != granted, number
        excludes(lock, "/p")
        for manager in (inner, outer):
            if manager.locked():
                manager.release()
        works(lock)
    assert number > 0, "the loop has seen all calls"


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("kinds", BOTH_ORDERS, ids=["path in between", "object in between"])
def test_somebody_else_who_comes_and_goes(first: str, kinds: tuple[Kind, Kind]) -> None:
    """In the middle of an enter, another request takes an equal node and is gone again.

    So what the lock has just learnt about its nodes may be forgotten before it is used.
    """
    for number in itertools.count():
        lock = TreeLock()
        holder = lock(write=FIRST[first]())
        holder.acquire()
        outer = lock(write=[kinds[1]("/p"), Same("/q")])

        def act(lock: TreeLock = lock, holder: Any = holder) -> None:
            holder.release()
            assert can_have(lock, write=[kinds[0]("/p")])
            assert can_have(lock, read=[kinds[0]("/q"), PurePosixPath("/h")])

        granted, done = acquire(outer, number, act)
        assert granted
        if not done:
            outer.release()
            holder.release()
            break
        excludes(lock, "/p")
        excludes(lock, "/q")
        outer.release()
        works(lock)
    assert number > 3, "the loop has seen all calls"


@pytest.mark.parametrize("kinds", BOTH_ORDERS, ids=["path first", "object first"])
def test_nodes_that_are_in_use_by_who_has_left(kinds: tuple[Kind, Kind]) -> None:
    """While a release notifies the next request's event loop, which runs Python code, others lock.

    The notified one goes away just then, as another thread could, so that the lock is idle.
    """
    lock = TreeLock()
    one, two = (lock(write=[kind("/p")]) for kind in kinds)
    granted: list[bool] = []

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(  # type: ignore[override]
            self, *arguments: Any, **keywords: Any
        ) -> Any:
            if not granted:
                granted.append(False)
                entering.close()
                granted[:] = [manager.acquire(blocking=False) for manager in (one, two)]
            return super().call_soon_threadsafe(*arguments, **keywords)

    async def start() -> None:
        assert entering.send(None) is not None, "it waits for a future"

    holder = lock(write=[Same("/p")])
    holder.acquire()
    entering: Any = lock(write=[Same("/p")]).__aenter__()
    loop = Loop()
    try:
        loop.run_until_complete(start())
        holder.release()
    finally:
        loop.close()
    assert granted == [True, False]
    excludes(lock, "/p")
    one.release()
    works(lock)


# -------------------------------------------------------------------- what an idle lock keeps


def kept_paths() -> list[str]:
    """Returns the paths below /kept, wherever they are."""
    gc.collect()
    texts: list[str] = []
    for each in gc.get_objects():
        if type(each) is PurePosixPath:
            with suppress(AttributeError):  # if its making has failed, or is under way
                texts.append(str(each))
    return [text for text in texts if text.startswith("/kept")]


def keeps_nothing(lock: TreeLock) -> None:
    """Asserts that a lock refers to no node."""
    nothing_is_left(lock)
    nodes = [each for each in gc.get_referents(lock) if isinstance(each, (Same, PurePosixPath))]
    assert not nodes
    assert not kept_paths()


@pytest.mark.parametrize("objects_first", [False, True])
def test_an_idle_lock_keeps_no_nodes(objects_first: bool) -> None:
    """Neither the objects, nor the paths that were held when the first of them came."""
    lock = TreeLock()
    paths = [lock(write=[PurePosixPath(f"/kept/{number}/a")]) for number in range(20)]
    objects = [lock(write=[Same(f"/other/{number}")]) for number in range(20)]
    for manager in [*paths, *objects]:
        manager.acquire()
    for number in range(20):
        excludes(lock, f"/kept/{number}/a")
        excludes(lock, f"/other/{number}")
    for manager in [*objects, *paths] if objects_first else [*paths, *objects]:
        manager.release()
    del manager
    paths.clear()
    objects.clear()
    keeps_nothing(lock)


async def test_an_idle_lock_keeps_no_nodes_of_who_has_waited() -> None:
    """A waiter that goes away before it is granted leaves nothing either."""
    lock = TreeLock()
    holder: Any = lock(write=[PurePosixPath("/kept/a")])
    holder.acquire()
    entering: Any = lock(write=[PurePosixPath("/kept/a/b")]).__aenter__()
    assert entering.send(None) is not None
    node = Same("/kept/a/c")
    gone = weakref.ref(node)
    waiting: Any = lock(write=[node]).__aenter__()
    assert waiting.send(None) is not None
    holder.release()
    entering.close()
    waiting.close()
    del holder, entering, waiting, node
    gc.collect()
    assert gone() is None
    keeps_nothing(lock)


class Raising(Same):
    """A node that fails when it is compared."""

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError


def test_an_idle_lock_keeps_no_nodes_of_who_has_failed() -> None:
    """An enter that fails among paths leaves nothing, and the paths are held as before."""
    lock = TreeLock()
    holder: Any = lock(write=[PurePosixPath("/kept/a")])
    holder.acquire()
    with pytest.raises(ArithmeticError):
        lock(write=[Raising("/kept/a")]).acquire()
    excludes(lock, "/kept/a")
    holder.release()
    del holder
    keeps_nothing(lock)
    works(lock)


def test_an_idle_lock_keeps_no_nodes_of_who_was_collected() -> None:
    """It keeps none when the last holder is collected instead of exiting."""
    lock = TreeLock()
    holder: Any = lock(write=[PurePosixPath("/kept/a")])
    holder.acquire()
    assert not can_have(lock, write=[Same("/kept/a/b")])
    with pytest.warns(ResourceWarning, match="/kept/a"):
        del holder
        gc.collect()
    keeps_nothing(lock)


def test_an_idle_lock_keeps_no_nodes_when_the_last_one_fails() -> None:
    """The holder exits while a request is created that then fails, so nothing else cleans up."""

    class Raising(Same):
        def __hash__(self) -> int:
            return hash(self.path)

        def __eq__(self, other: object) -> bool:
            if holder.locked():
                holder.release()
            raise ArithmeticError

    lock = TreeLock()
    holder: Any = lock(write=[PurePosixPath("/kept/a")])
    holder.acquire()
    with pytest.raises(ArithmeticError):
        lock(write=[Raising("/kept/a")]).acquire()
    assert not holder.locked()
    del holder
    keeps_nothing(lock)


def test_paths_beside_objects_that_may_equal_them_are_shown_as_paths() -> None:
    lock = TreeLock()
    with lock(write=[Same("/x")]), lock(write=[PurePosixPath("/p/q")]):
        assert "write /p/q" in str(lock.snapshot())
        with pytest.raises(LockTimeout, match="^read /p is blocked by request #2: write /p/q, "):
            lock(read=[PurePosixPath("/p")], timeout=0).__enter__()
