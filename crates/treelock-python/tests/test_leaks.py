"""Nothing is left: objects die after their use, counts stay where they were, cycles are collected.

Counts are compared with tolerance for what Python itself keeps, which is far below one per
operation.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterable
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

PATIENCE = 20
SHORT = 0.001
OPERATIONS = 10_000
NOISE = OPERATIONS // 100


class Node:
    """A node in pure Python."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def parents(self) -> list[Node]:
        return [Node(*self.names[:depth]) for depth in range(len(self.names))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


class Path(PurePosixPath):
    """A path that can be referred to weakly."""


class Unhashable(Node):
    """No node, as is found when it is looked at."""

    __hash__: Any = None


class Failing(Node):
    """A node whose code raises half-way through its ancestors."""

    @property
    def parents(self) -> Any:
        yield Node()
        raise KeyError("broken")


MAKERS: list[Callable[[], Any]] = [lambda: Node("a", "b"), lambda: Path("/a/b")]
each_kind = pytest.mark.parametrize("make", MAKERS, ids=["node", "path"])


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """As ``asyncio.run``, with an end to patience."""
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def turns(count: int) -> None:
    """Lets the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def visit(manager: Any) -> None:
    """Enters and leaves."""
    async with manager:
        await asyncio.sleep(0)


async def started(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that has come as far as it can."""
    task = asyncio.create_task(work)
    await turns(2)
    return task


def all_dead(references: Iterable[weakref.ref[Any]]) -> bool:
    """Whether nothing is left of what was referred to."""
    gc.collect()
    return all(reference() is None for reference in references)


# Objects die after their use


def use_sync(lock: TreeLock, node: Any) -> Any:
    """Enters and leaves, in a thread."""
    manager = lock(write=[node])
    with manager:
        lock.snapshot()
    return manager


def use_try(lock: TreeLock, node: Any) -> Any:
    """Does not get the lock."""
    manager = lock(read=[node])
    with lock(write=[node]):
        assert not manager.acquire(blocking=False)
    return manager


def use_timeout(lock: TreeLock, node: Any) -> Any:
    """Waits in vain, in a thread."""
    manager = lock(read=[node], timeout=SHORT)
    with lock(write=[node]), pytest.raises(LockTimeout):
        with manager:
            pass
    return manager


def use_async(lock: TreeLock, node: Any) -> Any:
    """Waits for a turn, in a task."""
    manager = lock(write=[node])

    async def main() -> None:
        async with manager:
            task = await started(visit(manager))
        await task

    run(main())
    return manager


def use_cancelled(lock: TreeLock, node: Any) -> Any:
    """Waits, and is cancelled; with a time-out that is still to come."""
    manager = lock(read=[node], timeout=PATIENCE)

    async def main() -> None:
        async with lock(write=[node]):
            task = await started(visit(manager))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())
    return manager


def use_failing(lock: TreeLock, node: Any) -> Any:
    """Enters with what is no node, after one that is."""
    manager = lock(write=[node, Unhashable("a")])
    with pytest.raises(TypeError):
        with manager:
            pass
    return manager


def use_iterator(lock: TreeLock, node: Any) -> Any:
    """Gives an iterator, which is read once and remembered."""
    manager = lock(write=iter([node]))
    for _ in range(2):
        with manager:
            pass
    return manager


USES = [use_sync, use_try, use_timeout, use_async, use_cancelled, use_failing, use_iterator]


@each_kind
@pytest.mark.parametrize("use", USES)
def test_objects_die_after_use(use: Callable[..., Any], make: Callable[[], Any]) -> None:
    """The lock, the context manager and the node."""
    lock, node = TreeLock(), make()
    manager = use(lock, node)
    references = [weakref.ref(lock), weakref.ref(manager), weakref.ref(node)]
    del lock, manager, node
    assert all_dead(references)


@each_kind
@pytest.mark.parametrize("use", USES)
def test_a_lock_keeps_nothing(use: Callable[..., Any], make: Callable[[], Any]) -> None:
    """The lock goes on living; nodes and context managers do not."""
    lock, node = TreeLock(), make()
    manager = use(lock, node)
    references = [weakref.ref(manager), weakref.ref(node)]
    del manager, node
    assert all_dead(references)
    assert len(lock.snapshot()) == 0


def test_a_manager_keeps_its_lock() -> None:
    """Otherwise ``async with TreeLock()(...)`` would lock nothing."""
    manager = TreeLock()(write=[Node("a")])
    gc.collect()
    with manager:
        assert manager.locked()


def test_a_class_of_nodes_dies_after_use() -> None:
    """What is remembered of types does not keep them: a notebook makes a new one each time."""

    def use(lock: TreeLock) -> weakref.ref[Any]:
        class Local(Node):
            pass

        with lock(write=[Local("a", "b")]):
            pass
        return weakref.ref(Local)

    lock = TreeLock()
    references = [use(lock) for _ in range(100)]
    gc.collect()
    alive = sum(reference() is not None for reference in references)
    assert alive == 0


def test_nodes_in_a_snapshot_die_with_it() -> None:
    """A snapshot keeps what it shows, and no longer than it lives itself."""
    lock, node = TreeLock(), Node("a", "b")
    with lock(write=[node]):
        snapshot = lock.snapshot()
        with pytest.raises(LockTimeout) as caught:
            with lock(write=[node], timeout=0):
                pass
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert snapshot.entries[0].roots[0].node == Node("a", "b")
    assert caught.value.blocked.blocker.node == Node("a", "b")
    del snapshot, caught
    assert all_dead([reference])


@pytest.mark.parametrize("outcome", ["granted", "cancelled", "timeout", "left waiting"])
def test_loop_and_task_die_after_use(outcome: str) -> None:
    """A lock lives longer than the loops that used it."""
    lock = TreeLock()
    references: list[weakref.ref[Any]] = []
    timeout = SHORT if outcome == "timeout" else None

    async def main() -> None:
        async with lock(write=[Node("a")]):
            task = await started(visit(lock(write=[Node("a")], timeout=timeout)))
            references.extend([weakref.ref(task), weakref.ref(asyncio.get_running_loop())])
            if outcome == "cancelled":
                task.cancel()
            if outcome == "timeout":
                await asyncio.gather(task, return_exceptions=True)
        if outcome == "granted":
            await task

    run(main())
    assert all_dead(references)
    assert len(lock.snapshot()) == 0


# Who waits and is forgotten


async def quiet_visit(manager: Any) -> None:
    """As ``visit``, in a task that asyncio does not complain about when it is destroyed."""
    task: Any = asyncio.current_task()
    task._log_destroy_pending = False
    await visit(manager)


def abandon(lock: TreeLock, **request: Any) -> list[weakref.ref[Any]]:
    """Leaves a task in line whose loop is closed; returns references to both."""
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(start(lock(**request)))
    references: list[weakref.ref[Any]] = [weakref.ref(task), weakref.ref(loop)]
    loop.close()
    return references


async def start(manager: Any) -> asyncio.Task[Any]:
    """A task that waits."""
    return await started(quiet_visit(manager))


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_waiter_of_a_closed_loop_is_collected(timeout: float | None) -> None:
    """Nobody refers to the loop or to the task, but the queue does; it leaves the queue."""
    lock, node = TreeLock(), Node("a")
    reader = lock(read=[node])
    with reader:
        references = abandon(lock, write=[node], timeout=timeout)
        assert all_dead(references)
        assert lock.snapshot().waiting == ()
        with lock(read=[node], timeout=0):
            assert len(lock.snapshot().held) == 2


def test_those_behind_a_collected_waiter_go_on() -> None:
    """They are woken by the collection, for no release comes."""
    lock, node = TreeLock(), Node("a")

    async def main() -> None:
        behind = await started(visit(lock(read=[node])))
        assert not behind.done()
        gc.collect()
        await behind

    with lock(read=[node]):
        gc.disable()
        try:
            references = abandon(lock, write=[node])
            run(main())
        finally:
            gc.enable()
    assert all_dead(references)


def test_an_abandoned_waiter_dies_with_its_lock() -> None:
    """Everything is a cycle of lock, queue, future, task and coroutine."""
    lock, node = TreeLock(), Node("a")
    holder = lock(read=[node])
    holder.acquire()
    references = abandon(lock, write=[node]) + [weakref.ref(lock), weakref.ref(node)]
    holder.release()
    del lock, holder, node
    assert all_dead(references)


def test_a_waiter_that_nobody_refers_to_is_kept_while_its_loop_lives() -> None:
    """As with asyncio's locks, a task that was only created is kept alive by what it waits for."""
    lock, node = TreeLock(), Node("a")
    seen: list[str] = []

    async def tell(manager: Any) -> None:
        async with manager:
            seen.append("granted")

    async def main() -> None:
        async with lock(write=[node]):
            for timeout in (None, PATIENCE):
                asyncio.create_task(tell(lock(write=[node], timeout=timeout)))
            await turns(3)
            for _ in range(3):
                gc.collect()
            assert len(lock.snapshot().waiting) == 2
        await turns(6)

    run(main())
    assert seen == ["granted", "granted"]


@pytest.mark.parametrize("step", ["before the first step", "in line", "granted"])
def test_a_dropped_awaitable_leaves(step: str) -> None:
    """Stepped by hand and dropped without ``close``, wherever it is."""
    lock, node = TreeLock(), Node("a")

    async def main() -> None:
        holder = lock(write=[node])
        await holder.__aenter__()
        manager = lock(write=[node])
        awaitable: Any = manager.__aenter__()
        if step != "before the first step":
            awaitable.send(None)
            assert len(lock.snapshot().waiting) == 1
        if step == "granted":
            holder.release()
            assert len(lock.snapshot().held) == 1
        del awaitable
        gc.collect()
        assert lock.snapshot().waiting == ()
        if step != "granted":
            holder.release()
        assert len(lock.snapshot()) == 0
        assert not manager.locked()

    run(main())


# Cycles


class Knot(Node):
    """A node that can refer to anything."""

    tied: Any = None


@pytest.mark.parametrize("through", ["manager", "lock", "list", "iterator", "awaitable"])
def test_cycles_are_collected(through: str) -> None:
    """From a node to the lock and its context manager, and back."""
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
    """With the warning. While it holds, the lock knows the node, so the lock is in the cycle."""
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
    """The coroutine waits for what only it refers to."""
    node = Knot("a")

    async def main() -> list[weakref.ref[Any]]:
        lock = TreeLock()
        holder = lock(read=[node])
        await holder.__aenter__()
        node.tied = coroutine = visit(lock(write=[node]))
        coroutine.send(None)
        holder.release()
        return [weakref.ref(lock), weakref.ref(holder), weakref.ref(coroutine)]

    references = run(main())
    references.append(weakref.ref(node))
    del node
    assert all_dead(references)


def test_a_subclass_with_cycles_is_collected() -> None:
    """Of a subclass with attributes of its own."""

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


# Counts


def churn_async(lock: TreeLock, node: Any) -> None:
    """Enters and leaves in a task; every tenth with somebody in line."""

    async def main() -> None:
        for _ in range(OPERATIONS // 10):
            for _ in range(9):
                async with lock(read=[node], write=[node]):
                    pass
            async with lock(write=[node]):
                task = await started(visit(lock(write=[node])))
            await task

    run(main())


def churn_sync(lock: TreeLock, node: Any) -> None:
    """Enters and leaves without a loop."""
    for _ in range(OPERATIONS):
        with lock(write=[node]):
            pass


def churn_cancelled(lock: TreeLock, node: Any) -> None:
    """Waits are cancelled: in line, and between grant and running."""

    async def main() -> None:
        for number in range(OPERATIONS // 5):
            async with lock(write=[node]):
                task = asyncio.create_task(visit(lock(write=[node], timeout=PATIENCE)))
                await asyncio.sleep(0)
                if number % 2:
                    task.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())


def churn_timeouts(lock: TreeLock, node: Any) -> None:
    """Tries fail in every way, and some wait a little."""

    async def main() -> None:
        async with lock(write=[node], label="holder"):
            for number in range(OPERATIONS // 20):
                timeout = 1e-6 if number % 10 == 0 else 0
                with pytest.raises(LockTimeout):
                    async with lock(read=[node], timeout=timeout):
                        pass

    run(main())
    manager = lock(read=[node])
    with lock(write=[node]):
        for number in range(OPERATIONS // 10):
            assert not manager.acquire(timeout=1e-6 if number % 10 == 0 else 0)


def churn_failing(lock: TreeLock, node: Any) -> None:
    """Entering fails: no node, no hash, an exception half-way."""
    bad: list[tuple[Any, type[Exception]]] = [
        (5, AttributeError),
        (Unhashable("a"), TypeError),
        (Failing("a", "b"), KeyError),
    ]
    for number in range(OPERATIONS // 10):
        root, error = bad[number % len(bad)]
        try:
            with lock(write=[node, root], read=[node]):
                raise AssertionError("entered")
        except error:
            pass


def churn_shown(lock: TreeLock, node: Any) -> None:
    """Snapshots and texts are made."""
    with lock(read=[node], label="holder"):
        for _ in range(OPERATIONS // 10):
            str(lock.snapshot()), repr(lock.snapshot()), repr(lock)


CHURNS = [churn_async, churn_sync, churn_cancelled, churn_timeouts, churn_failing, churn_shown]


@each_kind
@pytest.mark.parametrize("churn", CHURNS)
def test_counts_of_shared_objects_are_constant(
    churn: Callable[[TreeLock, Any], None], make: Callable[[], Any]
) -> None:
    """References to what everybody shares are given back."""
    lock, node = TreeLock(), make()
    shared = {
        "None": None,
        "True": True,
        "'read'": "read",
        "the type of the node": type(node),
        "the node": node,
        "the lock": lock,
        "TreeLock": TreeLock,
        "LockTimeout": LockTimeout,
        "PurePosixPath": PurePosixPath,
    }
    churn(lock, node)
    gc.collect()
    before = {name: sys.getrefcount(thing) for name, thing in shared.items()}
    churn(lock, node)
    gc.collect()
    change = {name: sys.getrefcount(thing) - before[name] for name, thing in shared.items()}
    assert {name: by for name, by in change.items() if abs(by) > NOISE} == {}


@each_kind
@pytest.mark.parametrize("churn", CHURNS)
def test_memory_of_python_is_stable(
    churn: Callable[[TreeLock, Any], None], make: Callable[[], Any]
) -> None:
    """A leak grows in every round, so the round that grows least tells."""
    lock, node = TreeLock(), make()
    churn(lock, node)
    growths = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        churn(lock, node)
        gc.collect()
        growths.append(sys.getallocatedblocks() - before)
    assert min(growths) < NOISE, growths


def test_distinct_nodes_leave_nothing() -> None:
    """New names each time, without the collector: counting references is enough.

    Each path is made once before, since Python 3.12 interns its names for ever.
    """
    lock = TreeLock()

    def enter(node: Any) -> None:
        with lock(write=[node]):
            pass

    def names(number: int) -> list[str]:
        return ["/", f"folder-{number}", f"file-{number}"]

    for number in range(1000):
        str(Path(*names(number)).parents[0])
    enter(Node("a"))
    enter(Path("/a"))
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for number in range(1000):
            enter(Node(*names(number)))
            enter(Path(*names(number)))
        growth = sys.getallocatedblocks() - before
    finally:
        gc.enable()
    assert growth < 500, growth


def test_cancelled_waits_leave_nothing() -> None:
    """A thousand tasks in line, all cancelled, while the lock is held."""
    lock, node = TreeLock(), Node("a", "b")

    async def round_() -> int:
        tasks = [await started(visit(lock(write=[node]))) for _ in range(1000)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(lock.snapshot()) == 1
        del tasks, task
        gc.collect()
        return sys.getallocatedblocks()

    async def main() -> list[int]:
        async with lock(read=[node]):
            return [await round_() for _ in range(4)]

    counts = run(main())
    growths = [counts[i] - counts[i - 1] for i in range(1, len(counts))]
    assert min(growths) < 100, growths
