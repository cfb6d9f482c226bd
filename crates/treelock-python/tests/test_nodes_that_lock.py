"""Nodes whose code uses the lock, or lets other threads run, in the middle of an enter."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import (
    can_have,
    enter_now,
    exit_now,
    nothing_is_left,
)
from nodes import Name, Node


class Busy:
    """A node whose code does something at each call, except while it is already doing that."""

    act: Callable[[str], None] | None = None

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    @classmethod
    def do(cls, question: str) -> None:
        act, Busy.act = Busy.act, None
        if act is not None:
            try:
                act(question)
            finally:
                Busy.act = act

    def __hash__(self) -> int:
        self.do("hash")
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        self.do("eq")
        return isinstance(other, Busy) and self.parts == other.parts

    @property
    def parents(self) -> Any:
        self.do("parents")
        for length in range(len(self.parts)):
            self.do("next")
            yield type(self)(*self.parts[:length])


class BusyColliding(Busy):
    """The same with one hash for all, so that the nodes are compared often."""

    def __hash__(self) -> int:
        self.do("hash")
        return 5


BUSY = [Busy, BusyColliding]


@pytest.fixture(autouse=True)
def _nodes_are_not_busy() -> Iterator[None]:
    yield
    Busy.act = None


def test_foreign_code_that_locks_something_else() -> None:
    """A node may use the lock it is being locked with; what that holds does not affect it."""
    lock = TreeLock()
    questions: list[str] = []

    def act(question: str) -> None:
        questions.append(question)
        with lock(read=[Busy("other")], write=[Busy("other", question), PurePosixPath("/o")]):
            assert not can_have(lock, write=[Busy("other")])

    with lock(read=[Busy("a", "b")]):
        Busy.act = act
        for _ in range(3):
            with lock(read=[Busy("a", "b")], write=[Busy("a", "c")]):
                Busy.act = None
                assert not can_have(lock, write=[Busy("a", "b")])
                assert not can_have(lock, read=[Busy("a")])
                assert can_have(lock, write=[Busy("other")])
                Busy.act = act
        Busy.act = None
        assert not can_have(lock, write=[Busy("a", "b")])
    assert set(questions) == {"hash", "eq", "parents", "next"}
    nothing_is_left(lock)
    assert can_have(lock, write=[Busy()])


@pytest.mark.parametrize("kind", BUSY)
@pytest.mark.parametrize("write", [False, True])
def test_foreign_code_that_comes_and_goes_with_the_same_nodes(
    kind: type[Busy], write: bool
) -> None:
    """Nodes that are given up while others are being looked up are not given up for those.

    In the middle of an enter another one takes and releases the very same nodes, which were unknown
    to the lock before. The first must end with nodes that later requests find.
    """
    for at in itertools.count():
        lock = TreeLock()
        countdown = iter(range(at, -1, -1))

        def act(question: str, lock: TreeLock = lock, countdown: Iterator[int] = countdown) -> None:
            if next(countdown, None) == 0:
                same = [kind("a", "b", "c")]
                with lock(write=same) if write else lock(read=same):
                    pass

        manager = lock(write=[kind("a", "b", "c"), kind("a", "d")])
        Busy.act = act
        manager.acquire()
        Busy.act = None
        for parts in ("", "a", "ab", "abc", "abcd", "ad"):
            assert not can_have(lock, read=[kind(*parts)]), (at, parts)
        assert can_have(lock, write=[kind("a", "b", "d"), kind("e")])
        manager.release()
        nothing_is_left(lock)
        assert can_have(lock, write=[kind()])
        if next(countdown, None) is not None:
            break
    assert at > 10, "the loop has seen all questions"


@pytest.mark.parametrize("kind", BUSY)
@pytest.mark.parametrize("inner_leaves_first", [False, True])
def test_foreign_code_that_comes_and_stays_with_the_same_ancestors(
    kind: type[Busy], inner_leaves_first: bool
) -> None:
    """Nodes that become known while the same ones are being looked up become known once.

    In the middle of an enter another one comes that shares its ancestors, and stays. If an ancestor
    existed twice, a request for it would see only one of the requests below it.
    """
    for at in itertools.count():
        lock = TreeLock()
        countdown = iter(range(at, -1, -1))
        inner = lock(read=[kind("a", "b", "x")])

        def act(question: str, inner: Any = inner, countdown: Iterator[int] = countdown) -> None:
            if next(countdown, None) == 0:
                inner.acquire()

        outer = lock(write=[kind("a", "d"), kind("a", "b", "c")])
        Busy.act = act
        outer.acquire()
        Busy.act = None
        if not inner.locked():
            outer.release()
            break
        outer_keeps_out(lock, kind)
        inner_keeps_out(lock, kind)
        if inner_leaves_first:
            inner.release()
            outer_keeps_out(lock, kind)
            outer.release()
        else:
            outer.release()
            inner_keeps_out(lock, kind)
            inner.release()
        nothing_is_left(lock)
        assert can_have(lock, write=[kind()])
    assert at > 10, "the loop has seen all questions"


def outer_keeps_out(lock: TreeLock, kind: type[Busy]) -> None:
    """Asserts that /a/d and /a/b/c are written."""
    for parts in ("", "a", "ab", "abc", "abcd", "ad"):
        assert not can_have(lock, read=[kind(*parts)]), parts
    assert can_have(lock, write=[kind("a", "b", "d"), kind("e")])


def inner_keeps_out(lock: TreeLock, kind: type[Busy]) -> None:
    """Asserts that /a/b/x is read."""
    for parts in ("", "a", "ab", "abx", "abxy"):
        assert not can_have(lock, write=[kind(*parts)]), parts
    assert can_have(lock, read=[kind("a", "b", "x")])


async def test_foreign_code_that_takes_the_place_in_between() -> None:
    """Whatever a node's code has taken before its own request could is in that request's way."""
    lock = TreeLock()
    inner = lock(write=[Busy("a")])

    def act(question: str) -> None:
        if not inner.locked():
            inner.acquire()

    outer = lock(write=[Busy("a", "b")])
    entering = outer.__aenter__()
    Busy.act = act
    assert entering.send(None) is not None, "it waits for a future"
    Busy.act = None
    assert not outer.locked() and inner.locked()
    inner.release()
    with pytest.raises(StopIteration):
        entering.send(None)
    assert outer.locked()
    exit_now(outer)
    nothing_is_left(lock)


async def test_foreign_code_that_releases_what_is_in_the_way() -> None:
    """A node's code may release what its own request would wait for."""
    lock = TreeLock()
    first = lock(write=[Busy("a")])
    first.acquire()

    def act(question: str) -> None:
        if first.locked():
            first.release()

    second = lock(write=[Busy("a")])
    Busy.act = act
    enter_now(second)
    Busy.act = None
    assert not can_have(lock, read=[Busy("a")])
    exit_now(second)
    nothing_is_left(lock)


async def test_foreign_code_that_enters_its_own_context_manager() -> None:
    """A generator of roots that enters the context manager it belongs to does not lock less.

    It cannot be read while it runs, so the inner enter raises; the outer one may raise too.
    """
    lock = TreeLock()
    managers: list[Any] = []

    def roots() -> Iterator[Any]:
        yield Node("a")
        with pytest.raises((ValueError, RuntimeError)), managers[0]:
            pytest.fail("entered with the first of its roots")
        yield Node("b")

    managers.append(lock(write=roots()))
    for _ in range(2):
        try:
            managers[0].acquire()
        except (ValueError, RuntimeError):
            pass
        else:
            assert not can_have(lock, read=[Node("a")])
            assert not can_have(lock, read=[Node("b")])
            managers[0].release()
        nothing_is_left(lock)


def test_foreign_code_that_lets_other_threads_run() -> None:
    """Threads that meet in the middle of each other's nodes still exclude each other."""
    lock = TreeLock()
    inside: dict[str, int] = {"a": 0, "b": 0}
    wrong: list[str] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(150):
            text = chance.choice("ab")
            with lock(write=[Busy("x", text, "y"), Busy("x", text)]):
                inside[text] += 1
                if inside[text] != 1:
                    wrong.append(text)
                inside[text] -= 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a thread waits forever"
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    nothing_is_left(lock)
    assert can_have(lock, write=[Busy()])


@pytest.mark.parametrize("end", ["released", "collected", "gives up", "waiter closed"])
def test_a_node_that_locks_when_it_dies(end: str) -> None:
    """The lock was the last to refer to it; its destructor runs in the middle of a release."""
    lock = TreeLock()
    granted: list[bool] = []

    class Dying(Name):
        __hash__ = Name.__hash__

        def __del__(self) -> None:
            with lock(write=[Name("other")]):
                granted.append(not can_have(lock, read=[Name("other")]))

    holder: Any = lock(write=[Name("a", "b")])
    roots = [Dying("a", "b", "c")]
    manager: Any = lock(write=roots)
    entering: Any = None
    if end in ("gives up", "waiter closed"):
        holder.acquire()
    if end == "gives up":
        dying = roots.pop()
        assert not lock(write=(each for each in [dying])).acquire(blocking=False)
        del dying
    elif end == "waiter closed":

        async def main() -> None:
            entering = manager.__aenter__()
            assert entering.send(None) is not None
            roots.clear()
            assert not granted
            entering.close()

        asyncio.run(main())
    else:
        manager.acquire()
        roots.clear()
        assert not granted
        if end == "released":
            manager.release()
        else:
            with pytest.warns(ResourceWarning):
                del manager
    gc.collect()
    assert granted == [True]
    if holder.locked():
        holder.release()
    nothing_is_left(lock)
