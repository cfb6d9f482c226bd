"""Every public feature, used as intended: accepted by ``mypy --strict``, and runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

import treelock
from treelock import (
    Blocked,
    Entry,
    LockTimeout,
    NodeTypeError,
    Root,
    Snapshot,
    TreeLock,
    TreeLockContextManager,
)

PHOTOS = PurePosixPath("/photos")


class Folder:
    """A user-defined node."""

    def __init__(self, *names: str) -> None:
        self._names = names

    @property
    def parents(self) -> Sequence[Folder]:
        return [Folder(*self._names[:depth]) for depth in range(len(self._names))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)


class NamedLock(TreeLock):
    """A subclass with its own ``__init__``."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def roots(lock: TreeLock) -> Iterator[TreeLockContextManager]:
    """Any iterables of any nodes, by position or by name."""
    yield lock()
    yield lock([], [])
    yield lock([PHOTOS], [])
    yield lock(read=[PHOTOS], write=(PurePosixPath("/a"), PurePosixPath("/b")))
    yield lock(write={Path("/a"), Path("/b")})
    yield lock(write=[PureWindowsPath("C:/a"), PHOTOS])
    yield lock(write=iter([PHOTOS]))
    yield lock(write=(PHOTOS / name for name in "abc"))
    yield lock(write={PHOTOS: 1}.keys())
    yield lock(write=[Folder("a", "b"), PurePath("a")])


def options(lock: TreeLock) -> Iterator[TreeLockContextManager]:
    """The keyword arguments."""
    yield lock([], timeout=5)
    yield lock([], timeout=0.5)
    yield lock([], timeout=None)
    yield lock([], label="import-7")
    yield lock([], label=None)


def locks() -> Iterator[TreeLock]:
    """The ways to make a lock."""
    yield TreeLock()
    yield TreeLock(strings=False)
    yield NamedLock("mine")


def strings() -> None:
    """A lock whose nodes are strings."""
    with TreeLock(strings=True)(read=["/a"], write=["b/c", "d//"]):
        pass


def threads(lock: TreeLock) -> int:
    """``with`` swallows nothing, so mypy knows that this always returns."""
    with lock(write=[PHOTOS]) as nothing:
        none: None = nothing
        assert none is None
        return 1


def by_hand(manager: TreeLockContextManager) -> tuple[bool, ...]:
    """The methods of ``threading.Lock``."""
    granted: bool = manager.acquire()
    held: bool = manager.locked()
    manager.release()
    again = manager.acquire(False)
    manager.release()
    again = again and manager.acquire(blocking=False)
    manager.release()
    in_time = manager.acquire(timeout=0.01)
    manager.release()
    in_time = in_time and manager.acquire(True, 1)
    manager.release()
    return granted, held, again, in_time


async def tasks(lock: TreeLock) -> int:
    """``async with`` and the tools of asyncio."""
    manager = lock(write=[PHOTOS])
    await asyncio.wait_for(manager.__aenter__(), 10)
    await manager.__aexit__(None, None, None)
    await asyncio.gather(manager.__aenter__())
    manager.release()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lock(write=[PHOTOS]))
    with ExitStack() as plain_stack:
        plain_stack.enter_context(lock(write=[PHOTOS]))
    async with lock(write=[PHOTOS]):
        return 1


def as_context_managers(
    manager: TreeLockContextManager,
) -> tuple[AbstractAsyncContextManager[None], AbstractContextManager[None]]:
    """Both types of ``contextlib``."""
    return manager, manager


def timeouts(lock: TreeLock) -> Blocked:
    """What the error contains."""
    with lock(write=[PHOTOS], label="import-7"):
        try:
            with lock(read=[PHOTOS / "2025"], timeout=0):
                raise AssertionError
        except LockTimeout as error:
            wait_error: TimeoutError = error
            assert str(wait_error)
            blocked = error.blocked
    wanted: Root = blocked.wanted
    access: Literal["read", "write"] = wanted.access
    path: PurePosixPath = blocked.blocker.node
    label: str | None = blocked.label
    state: Literal["held", "waiting"] = blocked.state
    numbers: tuple[int, int, float] = (blocked.ticket, blocked.ahead, blocked.age)
    assert (access, path, label, state, numbers[1]) == ("read", PHOTOS, "import-7", "held", 1)
    assert Blocked(wanted, wanted, None, 1, "held", 0.0, 1).label is None
    assert LockTimeout("text", blocked).blocked is blocked
    return blocked


def snapshots(lock: TreeLock) -> Snapshot:
    """What is shown."""
    with lock(write=[PHOTOS]):
        snapshot: Snapshot = lock.snapshot()
        locked: bool = lock.locked()
    entries: tuple[Entry, ...] = snapshot.entries
    assert locked and len(snapshot) == len(entries) and snapshot.held == entries
    waiting: tuple[Entry, ...] = snapshot.waiting
    assert waiting == ()
    for entry in snapshot:
        ticket, state, age, entry_label, entry_roots, waits_for = entry
        shown: tuple[int, float, str | None, int | None] = (ticket, age, entry_label, waits_for)
        assert state == "held" and shown[3] is None
        root: Root
        for root in entry_roots:
            assert root == Root("write", PHOTOS)
    assert str(snapshot) and repr(snapshot)
    return snapshot


def mistakes(lock: TreeLock) -> None:
    """The errors, by their names."""
    try:
        with lock(write=["/photos"]):
            raise AssertionError
    except NodeTypeError as error:
        both: tuple[TypeError, AttributeError] = (error, error)
        assert both


def main() -> None:
    """Runs everything, each with a lock that is free."""
    for lock in locks():
        for manager in (*roots(lock), *options(lock)):
            with manager:
                pass
        assert threads(lock) == 1
        by_hand(lock(read=[PHOTOS]))
        assert asyncio.run(tasks(lock)) == 1
        as_context_managers(lock())
        timeouts(lock)
        snapshots(lock)
        mistakes(lock)
        assert not lock.locked()
    strings()
    version: str = treelock.__version__
    assert version


if __name__ == "__main__":
    main()
