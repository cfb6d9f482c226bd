"""Points 17 and 18 of the contract: locks and context managers as objects, and their event loops.

Subclasses and weak references, many locks and many loops.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from treelock import TreeLock

from conftest import can_have, enter, exit_in, hold, nothing_is_left, run, settle, visit
from nodes import A_B, ROOT, A

# ----------------------------------------------------------------------------------------- 17


class NamedLock(TreeLock):
    """A subclass with arguments that do not belong to the lock."""

    def __init__(self, name: str, *, size: int = 1) -> None:
        super().__init__()
        self.name = name
        self.size = size


async def test_17_a_sub_class_has_its_own_arguments() -> None:
    """They reach its ``__init__``, and it locks."""
    lock = NamedLock("files", size=3)
    assert (lock.name, lock.size) == ("files", 3)
    async with lock([], [A]):
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)
    assert isinstance(NamedLock(name="files"), TreeLock)
    with pytest.raises(TypeError):
        NamedLock()  # type: ignore[call-arg]


def test_17_a_sub_class_can_choose_strings() -> None:
    """What it passes on to ``TreeLock.__init__`` counts, not what it received itself."""

    class OfStrings(TreeLock):
        def __init__(self, prefix: str) -> None:
            super().__init__(strings=True)
            self.prefix = prefix

    lock = OfStrings("p")
    with lock(write=["/a"]):
        assert not can_have(lock, read=["a/b"])
    with pytest.raises(TypeError), lock(write=[A]):
        pytest.fail("entered")


def test_17_a_sub_class_can_extend_the_call() -> None:
    """This also works with ``__slots__``, other bases and its own ``__new__``."""

    class Counting:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.calls = 0
            super().__init__(*args, **kwargs)

    class Lock(Counting, TreeLock):
        __slots__ = ("extra",)

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return super().__new__(cls, *args, **kwargs)

        def __call__(self, read: Any = (), write: Any = (), **more: Any) -> Any:
            self.calls += 1
            return super().__call__(read, write, **more)

    lock = Lock()
    with lock(write=[A], label="x"):
        assert lock.calls == 1
        assert not can_have(lock, read=[A])


def test_17_attributes() -> None:
    """A lock can be given attributes."""
    lock = TreeLock()
    lock.owner = "me"  # type: ignore[attr-defined]
    assert lock.owner == "me"  # type: ignore[attr-defined]
    assert "owner" in vars(lock)
    del lock.owner  # type: ignore[attr-defined]
    assert not hasattr(lock, "owner")


@pytest.mark.parametrize("make", [TreeLock, lambda: NamedLock("x")])
def test_17_a_lock_can_be_weakly_referenced(make: Callable[[], TreeLock]) -> None:
    """It can be the key of a weak dictionary, and it dies with its last reference."""
    lock = make()
    reference = weakref.ref(lock)
    table = weakref.WeakKeyDictionary({lock: 1})
    with lock(write=[A]):
        pass
    assert reference() is lock and table[lock] == 1
    del lock
    gc.collect()
    assert reference() is None and not table


def test_17_a_context_manager_can_be_weakly_referenced() -> None:
    """It also dies with its last reference, whether or not it was entered before."""
    manager = TreeLock()(write=[A])
    with manager:
        pass
    reference = weakref.ref(manager)
    assert reference() is manager
    del manager
    gc.collect()
    assert reference() is None


def test_17_cycles_are_collected() -> None:
    """A lock or context manager that refers back to itself does not leak."""
    lock = TreeLock()
    lock.me = lock  # type: ignore[attr-defined]
    roots: list[Any] = []
    manager = lock(write=roots)
    lock.manager = manager  # type: ignore[attr-defined]
    roots.append(A)
    with manager:
        pass
    references: list[weakref.ref[Any]] = [weakref.ref(lock), weakref.ref(manager)]
    del lock, manager, roots
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_17_a_cycle_through_the_arguments_is_collected() -> None:
    """The arguments too can refer back to the context manager."""

    class Roots(list):  # type: ignore[type-arg]
        pass

    roots = Roots([A])
    roots.manager = TreeLock()(write=roots, label="x")  # type: ignore[attr-defined]
    with roots.manager:  # type: ignore[attr-defined]
        pass
    reference = weakref.ref(roots)
    del roots
    gc.collect()
    assert reference() is None


# ----------------------------------------------------------------------------------------- 18


def test_18_locks_are_independent() -> None:
    """What one lock holds is free in all others."""
    one, other = TreeLock(), TreeLock()
    with one(write=[ROOT]), other(write=[ROOT]):
        assert one.locked() and other.locked()
    with one(write=[ROOT]):
        assert not other.locked() and len(other.snapshot()) == 0


LOCK_OF_THE_MODULE = TreeLock()


def test_18_one_lock_serves_successive_event_loops() -> None:
    """A lock created before there was a loop works in each one, even where tasks wait for it."""
    lock = LOCK_OF_THE_MODULE

    async def contended() -> None:
        holder = await hold(lock(write=[A]))
        waiter = await visit(lock(write=[A_B]))
        assert not waiter.inside
        await holder.leave()
        await settle()
        assert waiter.inside
        await waiter.leave()

    for _ in range(3):
        run(contended())
        nothing_is_left(lock)


def test_18_what_one_loop_holds_the_next_can_release() -> None:
    """The end of an event loop releases nothing."""
    lock = TreeLock()
    manager = lock(write=[A])
    run(enter(manager))
    assert not can_have(lock, read=[A])
    run(exit_in(manager))
    nothing_is_left(lock)
