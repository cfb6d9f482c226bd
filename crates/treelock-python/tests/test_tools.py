"""With the tools of asyncio and contextlib."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack, ExitStack
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import LockTimeout, TreeLock

from nodes import PHOTOS, ROOT, TEMPLATES, YEAR
from tasks import LONG_SECONDS, SHORT_SECONDS, pass_through, run, stay, turns


def test_wait_for() -> None:
    """It cancels the wait; the error is asyncio's own."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            manager = lock(write=[PHOTOS])
            with pytest.raises(asyncio.TimeoutError) as caught:
                await asyncio.wait_for(manager.__aenter__(), SHORT_SECONDS)
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pass_through(manager), SHORT_SECONDS)
            assert len(lock.snapshot()) == 1
        await asyncio.wait_for(manager.__aenter__(), LONG_SECONDS)
        assert manager.locked()
        await asyncio.wait_for(manager.__aexit__(None, None, None), LONG_SECONDS)
        assert not lock.locked()

    run(main())


def test_create_task() -> None:
    """To asyncio the awaitables are coroutines, which it can also display."""
    lock = TreeLock()

    async def main() -> None:
        manager = lock(write=[PHOTOS])
        entering: Any = manager.__aenter__()
        task = asyncio.create_task(entering)
        assert "pending" in repr(task)
        assert (await asyncio.gather(task))[0] is None
        assert lock.locked()
        leaving: Any = manager.__aexit__(None, None, None)
        assert (await asyncio.gather(asyncio.create_task(leaving)))[0] is None
        assert not lock.locked()

    run(main())


def test_gather_and_shield() -> None:
    """A shielded wait continues when the outer one is cancelled."""
    lock = TreeLock()

    async def main() -> None:
        manager = lock(write=[PHOTOS])
        async with lock(write=[ROOT]):
            entering: Any = manager.__aenter__()
            inner = asyncio.ensure_future(entering)
            outer = asyncio.create_task(shielded(inner))
            await turns(3)
            outer.cancel()
            await asyncio.gather(outer, return_exceptions=True)
            assert len(lock.snapshot().waiting) == 1
        await inner
        assert manager.locked()
        manager.release()

    async def shielded(inner: Awaitable[None]) -> None:
        await asyncio.shield(inner)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is of Python 3.11")
def test_asyncio_timeout() -> None:
    """The event loop's own timeout, with ours inside it."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS], label="holder"):
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(SHORT_SECONDS):
                    await pass_through(lock(write=[PHOTOS]))
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(LockTimeout, match="holder"):
                async with asyncio.timeout(LONG_SECONDS):
                    await pass_through(lock(write=[PHOTOS], timeout=SHORT_SECONDS))
            assert len(lock.snapshot()) == 1

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup is of Python 3.11")
def test_task_group() -> None:
    """A task that fails cancels all others, waiters and holders."""
    lock, over = TreeLock(), asyncio.Event()

    async def fail() -> None:
        await turns(3)
        raise KeyError("broken")

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: F821
            async with asyncio.TaskGroup() as group:
                group.create_task(stay(lock(write=[PHOTOS]), over))
                group.create_task(stay(lock(read=[YEAR]), over))
                group.create_task(stay(lock(write=[ROOT], timeout=LONG_SECONDS), over))
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert len(lock.snapshot()) == 0

    run(main())


def test_async_exit_stack() -> None:
    """Several context managers, exited in reverse, even after a failure half-way."""
    lock = TreeLock()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for path in (PHOTOS, TEMPLATES):
                given: list[Any] = [await stack.enter_async_context(lock(write=[path]))]
                assert given == [None]
            stack.enter_context(lock(write=[PurePosixPath("/music")]))
            assert len(lock.snapshot().held) == 3
        assert not lock.locked()
        with pytest.raises(LockTimeout):
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(lock(write=[PHOTOS]))
                await stack.enter_async_context(lock(write=[YEAR], timeout=0))
        assert not lock.locked()

    run(main())


def test_exit_stack() -> None:
    """The same without a loop; popped entries stay locked."""
    lock = TreeLock()
    with ExitStack() as stack:
        assert stack.enter_context(lock(write=[PHOTOS])) is None
        stack.enter_context(lock(write=[TEMPLATES]))
        kept = stack.pop_all()
    assert len(lock.snapshot().held) == 2
    kept.close()
    assert not lock.locked()


def test_an_error_in_the_body_goes_through() -> None:
    """It is not swallowed, and the lock is released."""
    lock = TreeLock()
    with pytest.raises(KeyError, match="broken"):
        with lock(write=[PHOTOS]):
            raise KeyError("broken")
    assert not lock.locked()


def test_both_kinds_of_with_share_one_lock() -> None:
    """Entered by a thread and waited for by a task, and the other way round."""
    lock = TreeLock()

    async def main() -> None:
        with lock(read=[PHOTOS]):
            async with lock(read=[YEAR], timeout=0):
                assert len(lock.snapshot().held) == 2
            with pytest.raises(LockTimeout):
                async with lock(write=[YEAR], timeout=0):
                    raise AssertionError("granted")

    run(main())
