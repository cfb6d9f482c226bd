"""One lock and many event loops: some end while a task waits in them, and some raise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest
from treelock import TreeLock

from conftest import nothing_is_left
from loops import Crew, NewLoop, pass_and_tell, run_in, turns
from nodes import PHOTOS, ROOT, YEAR, A

# ---------------------------------------------------------------------- loops that are closed


def abandon(new_loop: NewLoop, waiters: Sequence[Awaitable[Any]]) -> list[Any]:
    """Steps coroutines until they wait, in a loop that is then closed; returns them."""
    coroutines: list[Any] = list(waiters)
    loop = new_loop()

    async def step() -> None:
        for coroutine in coroutines:
            coroutine.send(None)

    loop.run_until_complete(step())
    loop.close()
    return coroutines


def test_a_waiter_of_a_closed_loop_does_not_break_the_releaser(new_loop: NewLoop) -> None:
    """``call_soon_threadsafe`` raises for a closed loop; the release must not pass that on."""
    lock = TreeLock()
    seen: list[str] = []
    with lock(write=[PHOTOS]):
        lost = abandon(new_loop, [pass_and_tell(lock, seen, "lost", write=[YEAR])])
        assert len(lock.snapshot().waiting) == 1
    assert len(lock.snapshot()) == 0
    with lock(write=[ROOT], timeout=0):
        lost[0].close()
        assert lock.locked(), "the closed waiter took nothing with it"
    assert seen == []


def test_a_waiter_of_a_closed_loop_does_not_block_those_behind(new_loop: NewLoop) -> None:
    """A grant that a closed loop could not be notified of moves on, to a loop and to a thread."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []
    holder = lock(write=[PHOTOS])
    holder.acquire()
    lost = abandon(new_loop, [pass_and_tell(lock, seen, "lost", write=[PHOTOS])])

    def thread() -> None:
        with lock(write=[PHOTOS]):
            seen.append("thread")

    async def main() -> None:
        behind = asyncio.create_task(pass_and_tell(lock, seen, "task", write=[PHOTOS]))
        await turns(2)
        crew.start(thread)
        while len(lock.snapshot().waiting) < 3:
            await asyncio.sleep(0.001)
        holder.release()
        await behind

    run_in(new_loop, main())
    crew.join()
    assert seen == ["task", "thread"]
    assert len(lock.snapshot()) == 0
    lost[0].close()


def test_closing_abandoned_waiters_lets_those_behind_go(new_loop: NewLoop) -> None:
    """The loop is gone but the lock is still held: a closed waiter leaves the line at once."""
    lock = TreeLock()
    reader = lock(read=[PHOTOS])
    reader.acquire()
    lost = abandon(new_loop, [pass_and_tell(lock, [], "lost", write=[PHOTOS])])
    assert not lock(read=[PHOTOS]).acquire(blocking=False)
    lost[0].close()
    assert lock.snapshot().waiting == ()
    with lock(read=[PHOTOS], timeout=0):
        reader.release()


def test_a_long_chain_of_waiters_of_closed_loops(new_loop: NewLoop) -> None:
    """Each grant fails and goes to the next: by iteration in the lock, not by recursion."""
    lock = TreeLock()
    holder = lock(write=[PHOTOS])
    holder.acquire()
    lost = abandon(new_loop, [pass_and_tell(lock, [], "lost", write=[YEAR]) for _ in range(10_000)])

    async def main() -> None:
        behind = asyncio.create_task(pass_and_tell(lock, [], "behind", write=[PHOTOS]))
        await turns(2)
        assert len(lock.snapshot().waiting) == 10_001
        holder.release()
        await behind
        assert len(lock.snapshot()) == 0

    run_in(new_loop, main())
    for coroutine in lost:
        coroutine.close()


def test_a_long_chain_of_closed_waiters(new_loop: NewLoop) -> None:
    """The waiters leave one by one, from the front, while the lock is still held."""
    lock = TreeLock()
    with lock(read=[PHOTOS]):
        lost = abandon(
            new_loop, [pass_and_tell(lock, [], "lost", write=[YEAR]) for _ in range(10_000)]
        )
        for coroutine in lost:
            coroutine.close()
        assert len(lock.snapshot()) == 1


def test_loops_that_close_under_their_waiters(new_loop: NewLoop) -> None:
    """Loops come and go with a task in line, while another thread enters and exits."""
    lock, crew, over = TreeLock(), Crew(), threading.Event()

    def busy() -> None:
        while not over.is_set():
            with lock(write=[PHOTOS]):
                over.wait(0.0001)

    async def wait_a_little() -> None:
        waiters = [asyncio.create_task(pass_and_tell(lock, [], "", write=[YEAR])) for _ in range(3)]
        await turns(1)
        del waiters

    crew.start(busy)
    for _ in range(50):
        run_in(new_loop, wait_a_little())
    over.set()
    crew.join()
    assert len(lock.snapshot()) == 0


# --------------------------------------------------------------------- one loop after another


def test_successive_loops(new_loop: NewLoop) -> None:
    """A lock belongs to no loop, whether or not a task waited in the previous one."""
    lock = TreeLock()
    seen: list[str] = []

    async def main(name: str) -> None:
        manager = lock(write=[PHOTOS])
        async with manager:
            behind = asyncio.create_task(pass_and_tell(lock, seen, name, read=[YEAR]))
            await turns(2)
            assert len(lock.snapshot().waiting) == 1
        await behind

    for name in "abc":
        run_in(new_loop, main(name))
    assert seen == ["a", "b", "c"]


def test_successive_loops_with_one_manager() -> None:
    """Nor does a context manager; ``asyncio.run`` cancels tasks that still wait when it ends."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])

    async def enter() -> None:
        async with manager:
            pass

    async def main() -> None:
        async with manager:
            waiting = asyncio.create_task(enter())
            await turns(2)
        assert not waiting.done(), "granted, but not running yet"

    for _ in range(3):
        asyncio.run(main())
        assert len(lock.snapshot()) == 0


def test_held_across_loops(new_loop: NewLoop) -> None:
    """Entered in one loop and exited in another: a lock has no owner."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])

    async def enter() -> None:
        await manager.__aenter__()

    async def leave() -> None:
        behind = asyncio.create_task(pass_and_tell(lock, [], "behind", write=[ROOT]))
        await turns(2)
        await manager.__aexit__(None, None, None)
        await behind

    run_in(new_loop, enter())
    assert lock.locked()
    run_in(new_loop, leave())
    assert not lock.locked()


# --------------------------------------------------------------- loops with code of their own


def test_released_while_the_loop_is_told_who_sleeps() -> None:
    """The last Python code before a task sleeps may release, as another thread could."""
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


@pytest.mark.parametrize("timeout", [None, 1000])
@pytest.mark.parametrize(
    "wrong", ["done", "create_future", "call_later", "_asyncio_future_blocking"]
)
def test_an_event_loop_that_raises(wrong: str, timeout: float | None) -> None:
    """A task that waits there leaves, and those behind it proceed."""
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

        def call_later(  # type: ignore[override]
            self, *arguments: Any, **keywords: Any
        ) -> asyncio.TimerHandle:
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
