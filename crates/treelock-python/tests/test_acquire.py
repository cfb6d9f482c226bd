"""Acquire, release and locked, the methods of ``threading.Lock``."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from treelock import TreeLock

from nodes import PHOTOS, ROOT, YEAR
from tasks import LONG_SECONDS, SHORT_SECONDS, pass_through, run, started


def test_acquire_and_release() -> None:
    """The methods of ``threading.Lock``."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert not manager.locked() and not lock.locked()
    assert manager.acquire() is True
    assert manager.locked() and lock.locked()
    manager.release()
    assert not manager.locked() and not lock.locked()


def test_release_of_what_is_not_held() -> None:
    """Even the second time, and even while another request holds."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    with pytest.raises(RuntimeError, match="not held"):
        manager.release()
    manager.acquire()
    manager.release()
    with lock(write=[PHOTOS]):
        with pytest.raises(RuntimeError, match="not held"):
            manager.release()
        assert lock.locked()


def test_one_manager_held_twice() -> None:
    """Two readers through one context manager: each release gives back one hold."""
    lock = TreeLock()
    manager = lock(read=[PHOTOS])
    assert manager.acquire() and manager.acquire()
    assert len(lock.snapshot().held) == 2
    manager.release()
    assert manager.locked() and len(lock.snapshot().held) == 1
    manager.release()
    assert not manager.locked()
    with pytest.raises(RuntimeError, match="not held"):
        manager.release()


def test_acquire_without_blocking() -> None:
    """This includes oneself: the lock is not re-entrant."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert manager.acquire(False) is True
    assert manager.acquire(False) is False
    assert manager.acquire(blocking=False) is False
    assert len(lock.snapshot()) == 1
    manager.release()


def test_acquire_with_a_timeout() -> None:
    """It returns whether, like ``threading.Lock.acquire``, and leaves nothing in line."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert manager.acquire(timeout=SHORT_SECONDS) is True
    assert lock(read=[YEAR]).acquire(timeout=SHORT_SECONDS) is False
    assert lock(read=[YEAR]).acquire(True, SHORT_SECONDS) is False
    assert lock(read=[YEAR]).acquire(timeout=0) is False
    assert len(lock.snapshot()) == 1
    manager.release()


def test_acquire_waits_as_long_as_the_manager_says() -> None:
    """That is the default; its own timeout takes precedence."""
    lock = TreeLock()
    with lock(write=[PHOTOS]):
        assert lock(write=[PHOTOS], timeout=0).acquire() is False
        assert lock(write=[PHOTOS], timeout=SHORT_SECONDS).acquire() is False
        assert lock(write=[PHOTOS], timeout=SHORT_SECONDS).acquire(timeout=-1) is False
        assert lock(write=[PHOTOS], timeout=1e6).acquire(timeout=SHORT_SECONDS) is False
        assert lock(write=[PHOTOS], timeout=1e6).acquire(blocking=False) is False
        assert len(lock.snapshot()) == 1


def test_acquire_may_wait_longer_than_the_manager_says() -> None:
    """The holder releases while there is time by one limit, but not by the other."""
    lock = TreeLock()
    got: list[bool] = []
    patient = lock(write=[PHOTOS], timeout=0)

    def wait() -> None:
        got.append(patient.acquire(timeout=LONG_SECONDS))

    thread = threading.Thread(target=wait, daemon=True)
    with lock(write=[PHOTOS]):
        thread.start()
        while not lock.snapshot().waiting:
            threading.Event().wait(0.001)
    thread.join(LONG_SECONDS)
    assert got == [True]
    patient.release()


@pytest.mark.parametrize(
    "arguments", [{"blocking": False, "timeout": 1}, {"timeout": -2}, {"timeout": float("nan")}]
)
def test_acquire_refuses_what_means_nothing(arguments: dict[str, Any]) -> None:
    """Like ``threading.Lock.acquire``."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    with pytest.raises(ValueError):
        threading.Lock().acquire(**arguments)
    with pytest.raises(ValueError):
        manager.acquire(**arguments)
    assert len(lock.snapshot()) == 0 and not manager.locked()


def test_acquired_in_a_thread_released_in_a_task() -> None:
    """The context manager is the same, in whatever way it is entered and exited."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])

    async def leave() -> None:
        waiter = await started(pass_through(lock(write=[PHOTOS])))
        manager.release()
        await waiter

    manager.acquire()
    run(leave())
    assert not lock.locked()


def test_no_roots() -> None:
    """A request with no roots is valid, granted at once, and in no one's way."""
    lock = TreeLock()
    with lock(write=[ROOT]):
        with lock():
            assert len(lock.snapshot().held) == 2
            assert str(lock.snapshot()).splitlines()[2].endswith("  nothing")
