"""Nodes whose code raises, at any of its calls: nothing is locked, and all else works."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import treelock
from treelock import TreeLock

from conftest import (
    Broken,
    can_have,
    enter_now,
    exit_now,
    hold,
    nothing_is_left,
    settle,
    visit,
)
from nodes import Node


class BrokenBase(BaseException):
    """Another exception that a node's code raises here, as unexpected as Ctrl-C."""


class Fuse:
    """Counts the calls of a node, and raises at one of them, or at all from one call on."""

    def __init__(self) -> None:
        self.calls = 0
        self.at: int | None = None
        self.for_good = False
        self.error: type[BaseException] = Broken

    def blow(self, at: int | None, for_good: bool = False) -> None:
        """Makes call number ``at`` from now raise, and all later calls too if ``for_good``."""
        self.calls, self.at, self.for_good = 0, at, for_good

    def call(self) -> None:
        self.calls += 1
        if self.at is not None and (
            self.calls == self.at or (self.for_good and self.calls >= self.at)
        ):
            raise self.error


class Fragile:
    """A node all of whose code goes through a fuse, its ancestors' code included."""

    def __init__(self, fuse: Fuse, *parts: str) -> None:
        self.fuse = fuse
        self.parts = parts

    def __hash__(self) -> int:
        self.fuse.call()
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        self.fuse.call()
        return isinstance(other, Fragile) and self.parts == other.parts

    @property
    def parents(self) -> Any:
        self.fuse.call()
        return FragileIterable(self.fuse, self.above())

    def above(self) -> list[Fragile]:
        return [type(self)(self.fuse, *self.parts[:length]) for length in range(len(self.parts))]


class FragileColliding(Fragile):
    """The same with one hash for all, so that the nodes are compared often."""

    def __hash__(self) -> int:
        self.fuse.call()
        return 3


class FragileIterable:
    """A list whose iterator, and each step of it, go through a fuse."""

    def __init__(self, fuse: Fuse, items: list[Any]) -> None:
        self.fuse = fuse
        self.items = items

    def __iter__(self) -> Any:
        self.fuse.call()
        return FragileIterator(self.fuse, self.items)


class FragileIterator:
    def __init__(self, fuse: Fuse, items: list[Any]) -> None:
        self.fuse = fuse
        self.items = list(items)

    def __iter__(self) -> Any:
        self.fuse.call()
        return self

    def __next__(self) -> Any:
        self.fuse.call()
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


FRAGILE = [Fragile, FragileColliding]
WITH = [lambda manager: manager.__enter__(), enter_now, lambda manager: manager.acquire()]


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("enter", WITH, ids=["with", "async with", "acquire"])
@pytest.mark.parametrize("error", [Broken, BrokenBase])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among others"])
async def test_foreign_code_that_raises_at_its_nth_call(
    kind: type[Fragile], enter: Callable[[Any], Any], error: type[BaseException], others: bool
) -> None:
    """Whichever call raises: the error is passed on, nothing is locked, and everything continues.
    """
    lock = TreeLock()
    fuse = Fuse()
    fuse.error = error

    def request() -> Any:
        return lock(
            read=FragileIterable(fuse, [kind(fuse, "a", "b"), kind(fuse, "c")]),
            write=FragileIterable(fuse, [kind(fuse, "a", "c"), kind(fuse, "a", "c")]),
        )

    neighbour = lock(read=[kind(fuse, "a", "b"), kind(fuse, "z")])
    if others:
        neighbour.acquire()
    before = len(lock.snapshot())
    for at in itertools.count(1):
        manager = request()
        fuse.blow(at)
        try:
            enter(manager)
        except error:
            pass
        else:
            break
        assert len(lock.snapshot()) == before, at
        assert lock.locked() is others and not manager.locked()
        fuse.blow(None)
        assert can_have(lock, read=[kind(fuse, "a", "b")], write=[kind(fuse, "a", "c")])
        with request():  # and the same request succeeds
            assert not can_have(lock, read=[kind(fuse, "a", "c")])
            assert can_have(lock, write=[kind(fuse, "d")])
        assert can_have(lock, write=[kind(fuse, "c")])
    assert fuse.calls < at, "an error was swallowed"
    assert at > 20, "the loop has seen the calls of hash, eq, parents, iter and next"
    fuse.blow(None)
    exit_now(manager)
    if others:
        assert not can_have(lock, write=[kind(fuse, "a", "b")])
        neighbour.release()
    assert can_have(lock, write=[kind(fuse)])
    nothing_is_left(lock)


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("queued", [False, True])
async def test_foreign_code_that_raises_while_others_wait(
    kind: type[Fragile], queued: bool
) -> None:
    """A failed enter disturbs neither holders nor waiters, and takes no place in line."""
    lock = TreeLock()
    fuse = Fuse()
    holder = await hold(lock(write=[kind(fuse, "a")]))
    waiter = await visit(lock(read=[kind(fuse, "a", "b")])) if queued else None
    for at in itertools.count(1):
        entering = lock(write=[kind(fuse, "a", "b", "c")]).__aenter__()
        fuse.blow(at)
        try:
            entering.send(None)
        except Broken:
            pass
        else:
            break
        finally:
            fuse.blow(None)
        assert len(lock.snapshot()) == 1 + queued
    assert len(lock.snapshot()) == 2 + queued
    entering.close()
    await holder.leave()
    await settle()
    if waiter is not None:
        assert waiter.inside
        await waiter.leave()
    nothing_is_left(lock)


LEAVE = [
    lambda manager: manager.__exit__(None, None, None),
    exit_now,
    lambda manager: manager.release(),
]


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("leave", LEAVE, ids=["with", "async with", "release"])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among others"])
async def test_foreign_code_that_raises_at_the_exit(
    kind: type[Fragile], leave: Callable[[Any], Any], others: bool
) -> None:
    """A release needs nothing from the nodes: it does not fail, and it frees them all."""
    lock = TreeLock()
    fuse = Fuse()
    neighbours = [lock(read=[kind(fuse, "a", text)]) for text in "xyz"] if others else []
    for neighbour in neighbours:
        neighbour.acquire()
    manager = lock(read=[kind(fuse, "a", "b")], write=[kind(fuse, "a", "c"), kind(fuse, "d")])
    manager.acquire()
    waiter = await visit(lock(write=[kind(fuse, "a", "c"), kind(fuse, "a", "b")]))
    assert not waiter.inside
    fuse.blow(1, for_good=True)
    leave(manager)
    await settle()
    assert waiter.inside
    await waiter.leave()
    for neighbour in neighbours:
        leave(neighbour)
    fuse.blow(None)
    nothing_is_left(lock)
    for text in ("b", "c", "x", "y"):
        assert can_have(lock, write=[kind(fuse, "a", text)])
    assert can_have(lock, write=[kind(fuse)])


@pytest.mark.parametrize("kind", FRAGILE)
async def test_foreign_code_that_raises_when_a_waiter_gives_up(kind: type[Fragile]) -> None:
    """Cancelling needs nothing from the nodes either."""
    lock = TreeLock()
    fuse = Fuse()
    holder = await hold(lock(read=[kind(fuse, "a")]))
    waiter = await visit(lock(write=[kind(fuse, "a", "b")]))
    behind = await visit(lock(read=[kind(fuse, "a", "b")]))
    fuse.blow(1, for_good=True)
    await waiter.cancel()
    await settle()
    assert behind.inside
    await behind.leave()
    await holder.leave()
    fuse.blow(None)
    nothing_is_left(lock)
    assert can_have(lock, write=[kind(fuse)])


async def test_a_node_whose_repr_raises() -> None:
    """Displaying the lock may fail because of it, but locking does not."""

    class Unshown(Node):
        def __repr__(self) -> str:
            raise Broken

        __str__ = __repr__

    lock = TreeLock()
    holder = await hold(lock(write=[Unshown("a")]))
    waiter = await visit(lock(write=[Unshown("a")]))
    assert not lock(write=[Unshown("a")]).acquire(blocking=False)
    with pytest.raises((treelock.LockTimeout, Broken)):
        async with lock(write=[Unshown("a", "b")], timeout=0):
            pytest.fail("entered")
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_a_hash_that_changes_while_it_is_held() -> None:
    """A node whose hash has changed is still released, and leaves nothing behind."""

    class Changing:
        parents = ()

        def __init__(self) -> None:
            self.hash = 1

        def __hash__(self) -> int:
            return self.hash

    lock = TreeLock()
    node = Changing()
    for _ in range(3):
        with lock(write=[node]):
            node.hash += 1
        nothing_is_left(lock)
        assert can_have(lock, write=[node])


def test_a_hash_that_is_no_number() -> None:
    """Whatever Python refuses as a hash is refused as a node."""

    class Wrong:
        parents = ()

        def __hash__(self) -> Any:
            return "hash"  # noqa: PLE0309

    lock = TreeLock()
    with pytest.raises(TypeError), lock(write=[Wrong()]):
        pytest.fail("entered")
    nothing_is_left(lock)
