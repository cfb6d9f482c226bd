"""Nothing is left: objects die after use, and counts stay where they were.

Counts are compared with a tolerance for what Python itself keeps, which is far below one per
operation.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from conftest import nothing_is_left
from leaks import LONG_SECONDS, SHORT_SECONDS, Node, WeakPath, all_dead, pass_through, run
from nodes import A
from tasks import started

OPERATIONS = 10_000
NOISE = OPERATIONS // 100


class Unhashable(Node):
    """Not a node, which is found only when it is examined."""

    __hash__: Any = None


class Failing(Node):
    """A node whose code raises half-way through its ancestors."""

    @property
    def parents(self) -> Any:
        yield Node()
        raise KeyError("broken")


MAKERS: list[Callable[[], Any]] = [lambda: Node("a", "b"), lambda: WeakPath("/a/b")]
each_kind = pytest.mark.parametrize("make", MAKERS, ids=["node", "path"])

# ---------------------------------------------------------------- objects die after their use


def use_sync(lock: TreeLock, node: Any) -> Any:
    """Enters and exits, in a thread."""
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
    """Waits without success, in a thread."""
    manager = lock(read=[node], timeout=SHORT_SECONDS)
    with lock(write=[node]), pytest.raises(LockTimeout):
        with manager:
            pass
    return manager


def use_async(lock: TreeLock, node: Any) -> Any:
    """Waits for a turn, in a task."""
    manager = lock(write=[node])

    async def main() -> None:
        async with manager:
            task = await started(pass_through(manager))
        await task

    run(main())
    return manager


def use_cancelled(lock: TreeLock, node: Any) -> Any:
    """Waits and is cancelled, with a timeout that is still pending."""
    manager = lock(read=[node], timeout=LONG_SECONDS)

    async def main() -> None:
        async with lock(write=[node]):
            task = await started(pass_through(manager))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())
    return manager


def use_failing(lock: TreeLock, node: Any) -> Any:
    """Enters with a node, and then something that is not a node."""
    manager = lock(write=[node, Unhashable("a")])
    with pytest.raises(TypeError):
        with manager:
            pass
    return manager


def use_iterator(lock: TreeLock, node: Any) -> Any:
    """Passes an iterator, which is read once and remembered."""
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
    """The lock lives on; nodes and context managers do not."""
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
    """Types are remembered but not kept alive: a notebook creates a new one each time."""

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
    """A snapshot keeps what it shows alive, but only as long as it lives itself."""
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


# ------------------------------------------------------------------------------------- counts


def churn_async(lock: TreeLock, node: Any) -> None:
    """Enters and exits in a task; every tenth time with another task in line."""

    async def main() -> None:
        for _ in range(OPERATIONS // 10):
            for _ in range(9):
                async with lock(read=[node], write=[node]):
                    pass
            async with lock(write=[node]):
                task = await started(pass_through(lock(write=[node])))
            await task

    run(main())


def churn_sync(lock: TreeLock, node: Any) -> None:
    """Enters and exits without a loop."""
    for _ in range(OPERATIONS):
        with lock(write=[node]):
            pass


def churn_cancelled(lock: TreeLock, node: Any) -> None:
    """Waits are cancelled: in line, and between grant and running."""

    async def main() -> None:
        for number in range(OPERATIONS // 5):
            async with lock(write=[node]):
                task = asyncio.create_task(pass_through(lock(write=[node], timeout=LONG_SECONDS)))
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
    """Entering fails: not a node, no hash, an exception half-way."""
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
    """References to shared objects are given back."""
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
    """A leak grows in every round, so the round that grows least decides."""
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
    """New names each time, without the collector: reference counting is enough.

    Each path is created once before, since Python 3.12 interns its names forever.
    """
    lock = TreeLock()

    def enter(node: Any) -> None:
        with lock(write=[node]):
            pass

    def names(number: int) -> list[str]:
        return ["/", f"folder-{number}", f"file-{number}"]

    for number in range(1000):
        str(WeakPath(*names(number)).parents[0])
    enter(Node("a"))
    enter(WeakPath("/a"))
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for number in range(1000):
            enter(Node(*names(number)))
            enter(WeakPath(*names(number)))
        growth = sys.getallocatedblocks() - before
    finally:
        gc.enable()
    assert growth < 500, growth


def test_cancelled_waits_leave_nothing() -> None:
    """A thousand tasks in line, all cancelled, while the lock is held."""
    lock, node = TreeLock(), Node("a", "b")

    async def round_() -> int:
        tasks = [await started(pass_through(lock(write=[node]))) for _ in range(1000)]
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory")
@pytest.mark.parametrize("granted", [False, True])
async def test_an_event_loop_keeps_nothing_of_waits_that_are_over(granted: bool) -> None:
    """This is Rust's memory, which Python's own counts do not see."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()

    def wait(times: int) -> None:
        for _ in range(times):
            entering: Any = manager.__aenter__()
            entering.send(None)
            if granted:
                holder.release()
                with pytest.raises(StopIteration):
                    entering.send(None)
                manager.release()
                holder.acquire()
            else:
                entering.close()

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    wait(2_000)
    before = pages()
    wait(100_000)
    assert pages() - before < 1000  # of 4 KiB; were each kept, it would be some 3000
    holder.release()
    nothing_is_left(lock)
