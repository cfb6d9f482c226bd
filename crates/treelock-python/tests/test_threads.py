"""One lock between threads and event loops."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from loops import LONG_SECONDS, Crew, NewLoop, pass_and_tell, run_in, turns, until
from model import Claim, conflict
from nodes import PHOTOS, ROOT, YEAR


class Bookkeeping:
    """Records who is inside, by the model's idea of a conflict and under its own mutex."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._inside: list[Sequence[Claim]] = []
        self.meetings: list[str] = []
        self.visits = 0

    @contextmanager
    def inside(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Records a visit, and all others that must not be there at the same time."""
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
    """What all participants do to the one lock."""

    def __init__(self, rounds: int) -> None:
        self.lock = TreeLock()
        self.books = Bookkeeping()
        self.rounds = rounds

    def request(self, rng: random.Random, timeout: float | None = None) -> tuple[Any, list[Claim]]:
        """Returns one to three roots in a tree of depth 2, so most requests conflict with some."""
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
        """Runs a thread with a loop of eight tasks."""

        async def main() -> None:
            rng = random.Random(seed)
            workers = (self._task(random.Random(rng.random())) for _ in range(8))
            await asyncio.gather(*workers)

        run_in(new_loop, main())

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
        """Runs a thread without a loop."""
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
    """Makes threads switch far more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("seed", range(3))
def test_three_loops_and_two_threads(new_loop: NewLoop, seed: int) -> None:
    """No two conflicting visitors meet, all finish, and nothing is left."""
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
    """The other loop sleeps in its selector: setting the future is not enough to wake it."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            crew.start(lambda: run_in(new_loop, pass_and_tell(lock, seen, "other", read=[YEAR])))
            while not lock.snapshot().waiting:
                await asyncio.sleep(0.001)
            assert seen == []

    run_in(new_loop, main())
    crew.join()
    assert seen == ["other"]


def test_a_waiting_task_is_woken_by_a_thread(new_loop: NewLoop) -> None:
    """A thread without a loop releases what a task waits for."""
    lock, crew = TreeLock(), Crew()
    seen: list[str] = []
    with lock(write=[PHOTOS]):
        crew.start(lambda: run_in(new_loop, pass_and_tell(lock, seen, "task", write=[ROOT])))
        until(lambda: len(lock.snapshot().waiting) == 1)
    crew.join()
    assert seen == ["task"]


def test_a_waiting_thread_is_woken_by_a_task(new_loop: NewLoop) -> None:
    """A task releases what a thread waits for, and then the other way round."""
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

    run_in(new_loop, main())
    crew.join()
    assert seen == ["thread", "task"], "the thread was first in line"


def test_one_release_wakes_readers_everywhere(new_loop: NewLoop) -> None:
    """Readers in two loops and two threads proceed together: they meet at a barrier inside."""
    lock, crew, barrier = TreeLock(), Crew(), threading.Barrier(4)

    async def task() -> None:
        async with lock(read=[PHOTOS]):
            await asyncio.get_running_loop().run_in_executor(None, barrier.wait, LONG_SECONDS)

    def thread() -> None:
        with lock(read=[PHOTOS]):
            barrier.wait(LONG_SECONDS)

    with lock(write=[YEAR]):
        for _ in range(2):
            crew.start(lambda: run_in(new_loop, task()))
            crew.start(thread)
        until(lambda: len(lock.snapshot().waiting) == 4)
    crew.join()


# --------------------------------------------------------------- threads beside an event loop


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

    run_in(new_loop, main())


def test_with_under_a_running_loop_does_not_block_it(new_loop: NewLoop) -> None:
    """It might wait for a task of the very loop that it blocks; the error names the blocker."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[YEAR], label="import-7"):
            with pytest.raises(RuntimeError, match="import-7.*/photos/2025"):
                with lock(read=[PHOTOS]):
                    raise AssertionError("it was granted")
            with pytest.raises(RuntimeError, match="import-7"):
                lock(read=[PHOTOS]).acquire()
            with pytest.raises(RuntimeError, match="import-7"):
                lock(read=[PHOTOS]).acquire(timeout=LONG_SECONDS)
            assert lock(read=[PHOTOS]).acquire(blocking=False) is False
            assert len(lock.snapshot()) == 1, "nothing of the failed requests is left"

    run_in(new_loop, main())


def test_with_in_a_thread_beside_a_loop_blocks(new_loop: NewLoop) -> None:
    """Only the thread of the loop must not be blocked; its executor threads may be."""
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

    run_in(new_loop, main())
