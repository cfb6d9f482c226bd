"""One lock between threads and event loops, also where they end while somebody waits.

No test measures time. ``PATIENCE`` only bounds how long a lost wake-up may hang before it fails.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from model import Claim, conflict

PATIENCE = 60
ROOT = PurePosixPath("/")
PHOTOS = PurePosixPath("/photos")
YEAR = PurePosixPath("/photos/2025")

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def new_uvloop() -> asyncio.AbstractEventLoop:
    """A loop in C, whose futures and handles are not asyncio's."""
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


@pytest.fixture(params=[asyncio.new_event_loop, new_uvloop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Makes event loops of one kind."""
    make: NewLoop = request.param
    if make is new_uvloop:
        pytest.importorskip("uvloop")
    return make


def run(new_loop: NewLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """As ``asyncio.run``, with any loop, and with an end to patience."""
    loop = new_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, PATIENCE))
    finally:
        loop.run_until_complete(cancel_the_others())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def cancel_the_others() -> None:
    """Cancels all tasks that are left."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Crew:
    """Threads whose errors are raised where they are awaited."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., Any], *args: Any) -> None:
        """Starts a thread; a daemon, so that one that hangs fails its test and no more."""

        def guarded() -> None:
            try:
                work(*args)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Waits for all."""
        for thread in self._threads:
            thread.join(PATIENCE)
        for error in self._errors:
            raise error
        assert not any(thread.is_alive() for thread in self._threads), "somebody waits for ever"


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread is about to do."""
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen")


async def turns(count: int) -> None:
    """Lets the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def visit(lock: TreeLock, seen: list[str], name: str, **roots: Any) -> None:
    """Enters and leaves, and tells."""
    async with lock(**roots):
        seen.append(name)


class Bookkeeping:
    """Who is inside, by the model's idea of a conflict and under a mutex of its own."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._inside: list[Sequence[Claim]] = []
        self.meetings: list[str] = []
        self.visits = 0

    @contextmanager
    def inside(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Notes a visit, and everybody met who must not be there at the same time."""
        with self._mutex:
            self.visits += 1
            met = [other for other in self._inside if conflict(claims, other)]
            self.meetings += [f"{claims} meets {other}" for other in met]
            self._inside.append(claims)
        try:
            yield
        finally:
            with self._mutex:
                self._inside.remove(claims)


class Stress:
    """What everybody does to the one lock."""

    def __init__(self, rounds: int) -> None:
        self.lock = TreeLock()
        self.books = Bookkeeping()
        self.rounds = rounds

    def request(self, rng: random.Random, timeout: float | None = None) -> tuple[Any, list[Claim]]:
        """One to three roots in a tree of depth 2, so that most requests conflict with some."""
        claims = []
        for _ in range(rng.randint(1, 3)):
            place = tuple(rng.choice("ab") for _ in range(rng.choice([1, 2, 2])))
            claims.append(Claim(rng.choice(["read", "write"]), place))
        read, write = (
            [PurePosixPath("/", *claim.place) for claim in claims if claim.access == access]
            for access in ("read", "write")
        )
        return self.lock(read, write, timeout=timeout), claims

    def loop_thread(self, new_loop: NewLoop, seed: int) -> None:
        """A thread with a loop of eight tasks."""

        async def main() -> None:
            rng = random.Random(seed)
            workers = (self._task(random.Random(rng.random())) for _ in range(8))
            await asyncio.gather(*workers)

        run(new_loop, main())

    async def _task(self, rng: random.Random) -> None:
        ways = [self._patient, self._cancelled, self._wait_for, self._timeout]
        for _ in range(self.rounds):
            await rng.choice(ways)(rng)

    async def _patient(self, rng: random.Random) -> None:
        manager, claims = self.request(rng)
        await self._body(manager, claims, rng)

    async def _body(self, manager: Any, claims: list[Claim], rng: random.Random) -> None:
        async with manager:
            with self.books.inside(claims):
                await asyncio.sleep(rng.choice([0, 0, 0, 0.0002]))

    async def _cancelled(self, rng: random.Random) -> None:
        manager, claims = self.request(rng)
        task = asyncio.create_task(self._body(manager, claims, rng))
        await turns(rng.randint(0, 4))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _wait_for(self, rng: random.Random) -> None:
        manager, claims = self.request(rng)
        try:
            await asyncio.wait_for(self._body(manager, claims, rng), rng.random() * 0.001)
        except asyncio.TimeoutError:
            pass

    async def _timeout(self, rng: random.Random) -> None:
        manager, claims = self.request(rng, timeout=rng.choice([0, 0.0003, 0.001]))
        try:
            await self._body(manager, claims, rng)
        except LockTimeout:
            pass

    def plain_thread(self, seed: int) -> None:
        """A thread without a loop."""
        rng = random.Random(seed)
        ways = [self._blocking, self._acquire, self._blocking_timeout]
        for _ in range(self.rounds * 4):
            rng.choice(ways)(rng)

    def _blocking(self, rng: random.Random) -> None:
        manager, claims = self.request(rng)
        with manager, self.books.inside(claims):
            pass

    def _acquire(self, rng: random.Random) -> None:
        manager, claims = self.request(rng)
        if manager.acquire(timeout=rng.choice([0, 0.0003, 0.001])):
            with self.books.inside(claims):
                pass
            manager.release()

    def _blocking_timeout(self, rng: random.Random) -> None:
        manager, claims = self.request(rng, timeout=rng.choice([0, 0.0003, 0.001]))
        try:
            with manager, self.books.inside(claims):
                pass
        except LockTimeout:
            pass


@pytest.fixture
def restless() -> Iterator[None]:
    """Makes threads change places far more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("seed", range(3))
def test_three_loops_and_two_threads(new_loop: NewLoop, seed: int) -> None:
    """Nobody meets whom he must not, everybody finishes, and nothing is left."""
    stress, crew = Stress(rounds=100), Crew()
    for number in range(3):
        crew.start(stress.loop_thread, new_loop, seed * 10 + number)
    for number in range(2):
        crew.start(stress.plain_thread, seed * 10 + 5 + number)
    crew.join()
    assert stress.books.meetings == []
    assert stress.books.visits > 100
    assert len(stress.lock.snapshot()) == 0 and not stress.lock.locked()


def test_the_bookkeeping_sees_a_meeting() -> None:
    """A test of the test."""
    books = Bookkeeping()
    with books.inside([Claim("read", ("a",))]), books.inside([Claim("read", ("a", "b"))]):
        assert books.meetings == []
        with books.inside([Claim("write", ("a",))]):
            assert len(books.meetings) == 2


def test_a_waiter_on_another_loop_is_woken(new_loop: NewLoop) -> None:
    """The other loop sleeps in its selector, so it must be told, not only the future set."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            crew.start(lambda: run(new_loop, visit(lock, seen, "other", read=[YEAR])))
            while not lock.snapshot().waiting:
                await asyncio.sleep(0.001)
            assert seen == []

    run(new_loop, main())
    crew.join()
    assert seen == ["other"]


def test_a_waiting_task_is_woken_by_a_thread(new_loop: NewLoop) -> None:
    """A thread without a loop releases what a task waits for."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []
    with lock(write=[PHOTOS]):
        crew.start(lambda: run(new_loop, visit(lock, seen, "task", write=[ROOT])))
        until(lambda: len(lock.snapshot().waiting) == 1)
    crew.join()
    assert seen == ["task"]


def test_a_waiting_thread_is_woken_by_a_task(new_loop: NewLoop) -> None:
    """A task releases what a thread waits for, and the other way round after that."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []

    def thread() -> None:
        with lock(write=[YEAR]):
            seen.append("thread")

    async def main() -> None:
        async with lock(read=[PHOTOS]):
            crew.start(thread)
            while not lock.snapshot().waiting:
                await asyncio.sleep(0.001)
        async with lock(write=[PHOTOS]):
            seen.append("task")

    run(new_loop, main())
    crew.join()
    assert seen == ["thread", "task"], "the thread was first in line"


def test_one_release_wakes_readers_everywhere(new_loop: NewLoop) -> None:
    """Readers on two loops and in two threads go on together, for they meet at a barrier inside."""
    lock, crew, barrier = TreeLock(), Crew(), threading.Barrier(4)

    async def task() -> None:
        async with lock(read=[PHOTOS]):
            await asyncio.get_running_loop().run_in_executor(None, barrier.wait, PATIENCE)

    def thread() -> None:
        with lock(read=[PHOTOS]):
            barrier.wait(PATIENCE)

    with lock(write=[YEAR]):
        for _ in range(2):
            crew.start(lambda: run(new_loop, task()))
            crew.start(thread)
        until(lambda: len(lock.snapshot().waiting) == 4)
    crew.join()


def abandon(new_loop: NewLoop, waiters: Sequence[Awaitable[Any]]) -> list[Any]:
    """Steps coroutines until they wait, under a loop that is then closed; returns them."""
    coroutines: list[Any] = list(waiters)
    loop = new_loop()

    async def step() -> None:
        for coroutine in coroutines:
            coroutine.send(None)

    loop.run_until_complete(step())
    loop.close()
    return coroutines


def test_a_waiter_of_a_closed_loop_does_not_break_the_releaser(new_loop: NewLoop) -> None:
    """``call_soon_threadsafe`` raises for a closed loop; that must not come out of the release."""
    lock = TreeLock()
    seen: list[str] = []
    with lock(write=[PHOTOS]):
        lost = abandon(new_loop, [visit(lock, seen, "lost", write=[YEAR])])
        assert len(lock.snapshot().waiting) == 1
    assert len(lock.snapshot()) == 0
    with lock(write=[ROOT], timeout=0):
        lost[0].close()
        assert lock.locked(), "the one who is gone took nothing with it"
    assert seen == []


def test_a_waiter_of_a_closed_loop_does_not_block_those_behind(new_loop: NewLoop) -> None:
    """The grant that the closed loop could not be told of goes on, to a loop and to a thread."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []
    holder = lock(write=[PHOTOS])
    holder.acquire()
    lost = abandon(new_loop, [visit(lock, seen, "lost", write=[PHOTOS])])

    def thread() -> None:
        with lock(write=[PHOTOS]):
            seen.append("thread")

    async def main() -> None:
        behind = asyncio.create_task(visit(lock, seen, "task", write=[PHOTOS]))
        await turns(2)
        crew.start(thread)
        while len(lock.snapshot().waiting) < 3:
            await asyncio.sleep(0.001)
        holder.release()
        await behind

    run(new_loop, main())
    crew.join()
    assert seen == ["task", "thread"]
    assert len(lock.snapshot()) == 0
    lost[0].close()


def test_closing_abandoned_waiters_lets_those_behind_go(new_loop: NewLoop) -> None:
    """The loop is gone but the lock is still held: who is closed leaves the line at once."""
    lock = TreeLock()
    reader = lock(read=[PHOTOS])
    reader.acquire()
    lost = abandon(new_loop, [visit(lock, [], "lost", write=[PHOTOS])])
    assert not lock(read=[PHOTOS]).acquire(blocking=False)
    lost[0].close()
    assert lock.snapshot().waiting == ()
    with lock(read=[PHOTOS], timeout=0):
        reader.release()


def test_a_long_chain_of_waiters_of_closed_loops(new_loop: NewLoop) -> None:
    """Each grant fails and goes to the next: a loop in the lock, not a recursion on the stack."""
    lock = TreeLock()
    holder = lock(write=[PHOTOS])
    holder.acquire()
    lost = abandon(new_loop, [visit(lock, [], "lost", write=[YEAR]) for _ in range(10_000)])

    async def main() -> None:
        behind = asyncio.create_task(visit(lock, [], "behind", write=[PHOTOS]))
        await turns(2)
        assert len(lock.snapshot().waiting) == 10_001
        holder.release()
        await behind
        assert len(lock.snapshot()) == 0

    run(new_loop, main())
    for coroutine in lost:
        coroutine.close()


def test_a_long_chain_of_closed_waiters(new_loop: NewLoop) -> None:
    """Those in line go one by one, the first first, while somebody still holds."""
    lock = TreeLock()
    with lock(read=[PHOTOS]):
        lost = abandon(new_loop, [visit(lock, [], "lost", write=[YEAR]) for _ in range(10_000)])
        for coroutine in lost:
            coroutine.close()
        assert len(lock.snapshot()) == 1


def test_loops_that_close_under_their_waiters(new_loop: NewLoop) -> None:
    """Loops come and go with somebody in line, while another thread goes in and out."""
    lock, crew, over = TreeLock(), Crew(), threading.Event()

    def busy() -> None:
        while not over.is_set():
            with lock(write=[PHOTOS]):
                over.wait(0.0001)

    async def wait_a_little() -> None:
        waiters = [asyncio.create_task(visit(lock, [], "", write=[YEAR])) for _ in range(3)]
        await turns(1)
        del waiters

    crew.start(busy)
    for _ in range(50):
        run(new_loop, wait_a_little())
    over.set()
    crew.join()
    assert len(lock.snapshot()) == 0


def test_with_under_a_running_loop_is_granted_at_once(new_loop: NewLoop) -> None:
    """Nothing is in the way, so no thread has to be blocked."""
    lock = TreeLock()

    async def main() -> None:
        with lock(write=[PHOTOS]):
            assert lock.locked()
        assert not lock.locked()
        manager = lock(write=[PHOTOS])
        assert manager.acquire()
        manager.release()

    run(new_loop, main())


def test_with_under_a_running_loop_does_not_block_it(new_loop: NewLoop) -> None:
    """It might wait for a task of the very loop that it blocks; the error says for whom."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[YEAR], label="import-7"):
            with pytest.raises(RuntimeError, match="import-7.*/photos/2025"):
                with lock(read=[PHOTOS]):
                    raise AssertionError("it was granted")
            with pytest.raises(RuntimeError, match="import-7"):
                lock(read=[PHOTOS]).acquire()
            with pytest.raises(RuntimeError, match="import-7"):
                lock(read=[PHOTOS]).acquire(timeout=PATIENCE)
            assert lock(read=[PHOTOS]).acquire(blocking=False) is False
            assert len(lock.snapshot()) == 1, "nothing of those who failed is left"

    run(new_loop, main())


def test_with_in_a_thread_beside_a_loop_blocks(new_loop: NewLoop) -> None:
    """Only the thread of the loop must not be blocked; its executor may."""
    lock = TreeLock()

    def thread() -> str:
        with lock(write=[PHOTOS]):
            return "granted"

    async def main() -> None:
        async with lock(read=[PHOTOS]):
            running = asyncio.get_running_loop().run_in_executor(None, thread)
            while not lock.snapshot().waiting:
                await asyncio.sleep(0.001)
        assert await running == "granted"

    run(new_loop, main())


def test_successive_loops(new_loop: NewLoop) -> None:
    """A lock belongs to no loop, whether or not somebody waited on the one before."""
    lock = TreeLock()
    seen: list[str] = []

    async def main(name: str) -> None:
        manager = lock(write=[PHOTOS])
        async with manager:
            behind = asyncio.create_task(visit(lock, seen, name, read=[YEAR]))
            await turns(2)
            assert len(lock.snapshot().waiting) == 1
        await behind

    for name in "abc":
        run(new_loop, main(name))
    assert seen == ["a", "b", "c"]


def test_successive_loops_with_one_manager() -> None:
    """Nor does a context manager; ``asyncio.run`` cancels who still waits when a loop ends."""
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
    """Entered under one loop and left under another: a lock has no owner."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])

    async def enter() -> None:
        await manager.__aenter__()

    async def leave() -> None:
        behind = asyncio.create_task(visit(lock, [], "behind", write=[ROOT]))
        await turns(2)
        await manager.__aexit__(None, None, None)
        await behind

    run(new_loop, enter())
    assert lock.locked()
    run(new_loop, leave())
    assert not lock.locked()
