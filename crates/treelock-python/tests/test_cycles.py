"""Reference cycles through locks, context managers, nodes and awaitables are collected."""

from __future__ import annotations

import gc
import weakref
from typing import Any, NamedTuple

import pytest
from treelock import TreeLock, TreeLockContextManager

from conftest import nothing_is_left
from leaks import Node, all_dead, pass_through, run


class Knot(Node):
    """A node that can refer to anything."""

    tied: Any = None


@pytest.mark.parametrize("through", ["manager", "lock", "list", "iterator", "awaitable"])
def test_cycles_are_collected(through: str) -> None:
    """A cycle from a node to the lock and its context manager, and back."""
    lock, node = TreeLock(), Knot("a")
    roots: Any = [node]
    manager = lock(write=iter(roots) if through == "iterator" else roots)
    node.tied = manager
    if through == "lock":
        lock.tied = [lock, node, manager]  # type: ignore[attr-defined]
    if through == "list":
        roots.append(roots)
    if through == "iterator":
        with manager:
            pass
    if through == "awaitable":
        node.tied = manager.__aenter__()
    references: list[weakref.ref[Any]] = [weakref.ref(thing) for thing in (lock, node, manager)]
    del lock, node, manager, roots
    assert all_dead(references)


def test_a_cycle_that_holds_is_collected() -> None:
    """The warning appears. While it holds, the lock refers to the node, so it is in the cycle."""
    lock, node = TreeLock(), Knot("a")
    node.tied = manager = lock(write=[node])
    manager.acquire()
    references: list[weakref.ref[Any]] = [weakref.ref(thing) for thing in (lock, node, manager)]
    gc.collect()
    with pytest.warns(ResourceWarning):
        del lock, node, manager
        gc.collect()
    assert all_dead(references)


def test_a_cycle_through_a_waiting_coroutine_is_collected() -> None:
    """The coroutine waits for something that only it refers to."""
    node = Knot("a")

    async def main() -> list[weakref.ref[Any]]:
        lock = TreeLock()
        holder = lock(read=[node])
        await holder.__aenter__()
        node.tied = coroutine = pass_through(lock(write=[node]))
        coroutine.send(None)
        holder.release()
        return [weakref.ref(lock), weakref.ref(holder), weakref.ref(coroutine)]

    references = run(main())
    references.append(weakref.ref(node))
    del node
    assert all_dead(references)


def test_a_subclass_with_cycles_is_collected() -> None:
    """The same for a subclass with its own attributes."""

    class Named(TreeLock):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            self.me = self

    lock = Named("x")
    reference = weakref.ref(lock)
    with lock(write=[Node("a")]):
        pass
    del lock
    assert all_dead([reference])


class Holder(NamedTuple):
    """A node that refers to the context manager it is a root of; a tuple cannot be cleared."""

    name: str
    manager: Any

    @property
    def parents(self) -> tuple[Any, ...]:
        return ()


def test_a_cycle_of_tuples_is_collected() -> None:
    """A context manager that keeps what it read from an iterator releases it.

    A dead weak reference would prove nothing, since the garbage collector clears it first.
    """

    def enter_and_forget() -> None:
        managers: list[TreeLockContextManager] = []
        managers.append(lock(write=(Holder("a", managers[0]) for _ in range(1))))
        with managers[0]:
            assert lock.locked()

    lock = TreeLock()
    for _ in range(3):
        enter_and_forget()
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Holder]
    nothing_is_left(lock)


def test_a_cycle_that_only_the_hold_keeps_is_collected() -> None:
    """A cycle of tuples and the nodes in use: only the hold itself can be cleared."""

    class Leaf(tuple):  # type: ignore[type-arg]
        __slots__ = ()
        parents = ()

        def __hash__(self) -> int:
            return id(self)

        def __eq__(self, other: object) -> bool:
            return self is other

        def __repr__(self) -> str:
            return "leaf"

    lock: Any = TreeLock()
    gone = weakref.ref(lock)
    cell: list[Any] = []
    manager = lock(write=map(lambda cell: Leaf((cell.pop(),)), [cell]))
    cell[:] = [manager]
    manager.acquire()
    assert not cell
    del manager, lock
    with pytest.warns(ResourceWarning, match="write leaf"):
        gc.collect()
    assert gone() is None


def test_a_cycle_through_a_label_is_collected() -> None:
    lock = TreeLock()
    label: Any = []
    manager: Any = lock(label=label)
    label.append(manager)
    gone = weakref.ref(manager)
    del manager, label
    gc.collect()
    assert gone() is None
