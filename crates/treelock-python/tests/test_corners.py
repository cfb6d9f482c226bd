"""Corners that were found by changing the code where no other test minded."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from conftest import can_have, enter, enter_now, exit_in, nothing_is_left
from nodes import A, B, Name
from test_mixed import Same, keeps_nothing


def test_released_while_the_loop_is_told_who_sleeps() -> None:
    """The last code of Python's before a task sleeps may release, as another thread could."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()

    class Loop(asyncio.SelectorEventLoop):
        armed = False

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if Loop.armed and holder.locked():
                holder.release()

    async def main() -> None:
        entering: Any = manager.__aenter__()
        Loop.armed = True
        with pytest.raises(StopIteration):
            entering.send(None)
        Loop.armed = False

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert not holder.locked()
    manager.release()


def test_a_wake_up_that_comes_late_does_not_end_the_next_wait() -> None:
    """It reaches a thread whose time was over, and that was granted in the last moment."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    again = threading.Event()
    granted: list[bool] = []

    def work() -> None:
        granted.append(manager.acquire(timeout=0.1))
        manager.release()
        holder.acquire()
        again.set()
        granted.append(manager.acquire(timeout=20))
        manager.release()

    holder.acquire()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not lock.snapshot().waiting:
        time.sleep(0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # the thread's time ends, and it cannot see it yet
    try:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        holder.release()
    finally:
        sys.setswitchinterval(interval)
    assert again.wait(20)
    time.sleep(0.05)
    holder.release()
    thread.join(20)
    assert granted == [True, True]


async def test_three_deep_in_one_task_with_a_list_that_changes() -> None:
    """The last one in is the first one out, also of a task's second and third."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    nodes = [A, B, PurePosixPath("/c"), PurePosixPath("/d")]
    for node in nodes:
        roots[:] = [node]
        await manager.__aenter__()
    for left in range(len(nodes), -1, -1):
        assert [can_have(lock, write=[node]) for node in nodes] == [
            number >= left for number in range(len(nodes))
        ]
        await manager.__aexit__(None, None, None)
    nothing_is_left(lock)


@pytest.mark.parametrize("end", ["granted", "granted at once", "closed", "thrown", "dropped"])
def test_a_timer_is_cancelled_when_the_wait_ends(end: str) -> None:
    """Or the loop would keep it, and the future, until the time is over."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A], timeout=1000)
    holder.acquire()
    timers: list[asyncio.TimerHandle] = []

    class Loop(asyncio.SelectorEventLoop):
        def call_later(self, *arguments: Any, **keywords: Any) -> asyncio.TimerHandle:
            timers.append(super().call_later(*arguments, **keywords))
            if end == "granted at once":
                holder.release()
            return timers[-1]

    async def main() -> None:
        entering: Any = manager.__aenter__()
        if end == "granted at once":
            with pytest.raises(StopIteration):
                entering.send(None)
        else:
            assert entering.send(None) is not None
        assert len(timers) == 1
        if end == "granted":
            assert not timers[0].cancelled()
            holder.release()
            with pytest.raises(StopIteration):
                entering.send(None)
        elif end == "closed":
            entering.close()
        elif end == "thrown":
            with pytest.raises(KeyError):
                entering.throw(KeyError())
        del entering
        assert timers[0].cancelled()

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    for each in (holder, manager):
        if each.locked():
            each.release()


async def test_a_task_that_comes_again_when_the_first_has_left() -> None:
    """Its second hold is the one that it leaves first, though nobody else is the first any more."""
    lock = TreeLock()
    roots = [A]
    manager: Any = lock(write=roots)
    await asyncio.create_task(enter(manager))
    roots[:] = [B]
    await manager.__aenter__()
    await asyncio.create_task(exit_in(manager))
    assert can_have(lock, write=[A])
    roots[:] = [PurePosixPath("/c")]
    await manager.__aenter__()
    await manager.__aexit__(None, None, None)
    assert can_have(lock, write=[PurePosixPath("/c")])
    assert not can_have(lock, write=[B])
    await manager.__aexit__(None, None, None)
    nothing_is_left(lock)


def test_a_cycle_that_only_the_hold_keeps_is_collected() -> None:
    """Of tuples and what is in use: nothing in it can be emptied but the hold itself."""

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


def test_what_is_held_at_exit_is_no_mistake() -> None:
    script = (
        "import sys, pathlib, treelock; lock = treelock.TreeLock(); "
        "holder = lock(write=[pathlib.PurePosixPath('/photos')]); holder.acquire()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_idle_lock_keeps_no_nodes_of_who_was_collected() -> None:
    """Nor when the last one to hold is collected instead of leaving."""
    lock = TreeLock()
    holder: Any = lock(write=[PurePosixPath("/kept/a")])
    holder.acquire()
    assert not can_have(lock, write=[Same("/kept/a/b")])
    with pytest.warns(ResourceWarning, match="/kept/a"):
        del holder
        gc.collect()
    keeps_nothing(lock)


async def test_an_awaitable_that_is_stepped_by_hand_and_then_awaited() -> None:
    """A task may come back to it before it is granted; then the task sleeps again."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()
    entering: Any = manager.__aenter__()
    future = entering.send(None)
    future._asyncio_future_blocking = False  # as the task does that gets it
    asyncio.get_running_loop().call_later(0.01, holder.release)
    await entering
    manager.release()
    nothing_is_left(lock)


def test_a_path_with_its_own_equality_and_the_hash_of_pathlib() -> None:
    """Without a hash of its own Python gives a class none; and this one says so."""

    class Own(PurePosixPath):
        __slots__ = ()
        __hash__ = PurePosixPath.__hash__

        def __eq__(self, other: object) -> bool:
            return self is other

    lock = TreeLock()
    one, other = Own("/a"), Own("/a")
    with lock(write=[one]):
        assert can_have(lock, write=[other])
        assert not can_have(lock, read=[one])


def test_a_list_that_grows_while_it_is_read() -> None:
    """It is read as `for` reads it."""
    lock = TreeLock()
    roots: list[Any] = []

    class Growing(Name):
        @property
        def parents(self) -> Any:
            if roots[-1] is self:
                roots.append(B)
            return ()

    roots.append(Growing("x"))
    with lock(write=roots):
        assert not can_have(lock, read=[B])
    nothing_is_left(lock)


@pytest.mark.parametrize("end", ["released", "collected", "gives up", "waiter closed"])
def test_a_node_that_locks_when_it_dies(end: str) -> None:
    """The lock was the last that referred to it; its destructor runs in the middle of a release."""
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


def test_messages_and_tables_have_no_control_characters() -> None:
    """Neither those of a path nor those that a node prints."""

    class Loud(Name):
        __hash__ = Name.__hash__

        def __repr__(self) -> str:
            return "loud\n\x1b[31m"

    lock = TreeLock()
    for node, text in [(PurePosixPath("/x\ny\t"), r"/x\ny\t"), (Loud("x"), r"loud\n\u{1b}[31m")]:
        with lock(write=[node]):
            with pytest.raises(LockTimeout) as refused:
                lock(read=[node], timeout=0).__enter__()
            table = str(lock.snapshot())
        assert text in str(refused.value) and text in table
        assert str(refused.value).isprintable()
        assert all(line.isprintable() for line in table.split("\n"))
        assert len(table.splitlines()) == 2


def test_nodes_that_release_the_others_while_they_are_printed() -> None:
    """All that are shown are those that were in use when the snapshot was taken."""

    class Releasing(Name):
        __hash__ = Name.__hash__

        def __repr__(self) -> str:
            for manager in managers:
                if manager.locked():
                    manager.release()
            return f"releasing {self.parts}"

    lock = TreeLock()
    nodes = [Releasing("a"), Releasing("b"), Releasing("c")]
    managers = [lock(write=[node]) for node in nodes]
    for manager in managers:
        manager.acquire()
    snapshot = lock.snapshot()
    assert [root.node for entry in snapshot for root in entry.roots] == nodes
    assert all(f"releasing {node.parts}" in str(snapshot) for node in nodes)
    nothing_is_left(lock)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory")
@pytest.mark.parametrize("granted", [False, True])
async def test_an_event_loop_keeps_nothing_of_waits_that_are_over(granted: bool) -> None:
    """Memory of Rust, which Python's own counts do not see."""
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


@pytest.mark.parametrize("timeout", [None, 1000])
@pytest.mark.parametrize(
    "wrong", ["done", "create_future", "call_later", "_asyncio_future_blocking"]
)
def test_an_event_loop_that_raises(wrong: str, timeout: float | None) -> None:
    """Whoever waits there leaves, and those behind go on."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A], timeout=timeout)
    holder.acquire()
    armed: list[str] = []

    def check(name: str) -> None:
        if name in armed:
            raise KeyError(name)

    class Future(asyncio.Future[None]):
        def done(self) -> bool:
            check("done")
            return super().done()

        def __setattr__(self, name: str, value: Any) -> None:
            check(name)
            super().__setattr__(name, value)

    class Loop(asyncio.SelectorEventLoop):
        def create_future(self) -> Any:
            check("create_future")
            return Future(loop=self)

        def call_later(self, *arguments: Any, **keywords: Any) -> asyncio.TimerHandle:
            check("call_later")
            return super().call_later(*arguments, **keywords)

    async def main() -> None:
        if wrong == "call_later" and timeout is None:
            return
        for steps_before in [0, 1] if wrong in ("done", "_asyncio_future_blocking") else [0]:
            if wrong == "done" and not steps_before:
                continue
            entering: Any = manager.__aenter__()
            for _ in range(steps_before):
                assert entering.send(None) is not None
            armed.append(wrong)
            with pytest.raises(KeyError, match=wrong):
                entering.send(None)
            armed.clear()
            assert not lock.snapshot().waiting
            with pytest.raises(RuntimeError, match="reuse"):
                entering.send(None)

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    holder.release()
    nothing_is_left(lock)


async def test_a_result_that_somebody_else_sets_is_no_time_out() -> None:
    """Where there is no time-out, the wait goes on."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    holder.acquire()
    entering: Any = manager.__aenter__()
    future = entering.send(None)
    future.set_result(None)
    assert entering.send(None) is future
    assert len(lock.snapshot().waiting) == 1
    holder.release()
    with pytest.raises(StopIteration):
        entering.send(None)
    manager.release()
    nothing_is_left(lock)


def test_an_awaitable_that_is_closed_while_it_is_stepped() -> None:
    """As a coroutine, it refuses; and what it is about to hold is held."""
    lock = TreeLock()
    refused: list[str] = []
    entering: Any = None

    class Closing(Name):
        __hash__ = Name.__hash__

        @property
        def parents(self) -> Any:
            for end in (
                entering.close,
                lambda: entering.throw(KeyError()),
                lambda: entering.send(None),
            ):
                with pytest.raises(RuntimeError, match="being stepped already"):
                    end()
                refused.append("refused")
            return ()

    manager: Any = lock(write=[Closing("a")])
    entering = manager.__aenter__()
    with pytest.raises(StopIteration):
        entering.send(None)
    assert len(refused) == 3 and manager.locked()
    manager.release()
    nothing_is_left(lock)


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("enter_it", [lambda manager: manager.acquire(), enter_now])
def test_a_generator_that_is_exhausted_when_it_is_given(enter_it: Any, argument: str) -> None:
    """It had roots once; to lock nothing instead would be no lock at all."""
    lock = TreeLock()
    generator = (node for node in [A])
    assert list(generator) == [A]
    manager = lock(**{argument: generator})
    for message in ["exhausted", "failed when it was read first"]:
        with pytest.raises((ValueError, RuntimeError), match=message):
            enter_it(manager)
    nothing_is_left(lock)


def test_a_path_with_its_own_hash_and_the_equality_of_pathlib() -> None:
    """To a set two such are two, and so they are to the lock."""

    class Own(PurePosixPath):
        __slots__ = ()
        __hash__ = object.__hash__  # type: ignore[assignment]

    lock = TreeLock()
    one, other = Own("/a"), Own("/a")
    assert len({one, other}) == 2
    with lock(write=[one]):
        assert can_have(lock, write=[other])
        assert not can_have(lock, read=[one])


def test_a_class_at_the_address_of_one_that_is_gone() -> None:
    """What was known of the one is not said of the other."""

    def plain() -> Any:
        class Plain(PurePosixPath):
            __slots__ = ()
            __hash__ = PurePosixPath.__hash__

            def __repr__(self) -> str:
                return "plain"

        return Plain

    def own() -> Any:
        class Own(PurePosixPath):
            __slots__ = ()
            __hash__ = PurePosixPath.__hash__

            def __eq__(self, other: object) -> bool:
                return self is other

        return Own

    lock = TreeLock()
    met = 0
    for _ in range(100):
        first = plain()
        with lock(write=[first("/a")]):
            assert not can_have(lock, write=[first("/a")])
        address = id(first)
        del first
        gc.collect()
        second = own()
        met += id(second) == address
        with lock(write=[second("/a")]):
            assert can_have(lock, write=[second("/a")])
        if met:
            break
    if not met:
        pytest.skip("no class was made at the address of another")


def test_a_relative_windows_path_with_a_colon_is_shown_as_it_is() -> None:
    lock = TreeLock()
    path = PureWindowsPath("./c:x")
    assert not path.drive
    with lock(write=[path]):
        (entry,) = lock.snapshot()
        shown = entry.roots[0].node
    assert (shown, shown.drive, shown.parts) == (path, "", ("c:x",))


def test_an_idle_lock_keeps_no_nodes_when_the_last_one_fails() -> None:
    """Who holds leaves while a request is made that then fails, so nobody else cleans up."""

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
