"""Misuse that ``mypy --strict`` has to find: an unneeded ignore is itself an error."""

import asyncio
from pathlib import PurePosixPath

from treelock import Blocked, LockTimeout, Root, TreeLock, TreeLockContextManager

PHOTOS = PurePosixPath("/photos")
lock = TreeLock()


class NoParents:
    """Can be hashed, but has no ancestors."""


class ParentsAsMethod:
    """Its ``parents`` is a method, which it is not in ``pathlib`` either."""

    def parents(self) -> list[PurePosixPath]:
        return []


# Making a lock

TreeLock(True)  # type: ignore[misc, call-arg, unused-ignore]
TreeLock(text=True)  # type: ignore[call-arg]
TreeLock(strings="yes")  # type: ignore[arg-type]
TreeLockContextManager(lock)  # type: ignore[call-arg]

# What is locked

lock(PHOTOS)  # type: ignore[arg-type]
lock(write=PHOTOS)  # type: ignore[arg-type]
lock(write=5)  # type: ignore[arg-type]
lock(write=None)  # type: ignore[arg-type]
lock(write=[5])  # type: ignore[list-item]
lock(write=[None])  # type: ignore[list-item]
lock(write=[b"/photos"])  # type: ignore[list-item]
lock(write=[NoParents()])  # type: ignore[list-item]
lock(write=[ParentsAsMethod()])  # type: ignore[list-item]
lock(write=[[PHOTOS]])  # type: ignore[list-item]

# How

lock([], [], 5)  # type: ignore[misc, call-arg, unused-ignore]
lock([], [], timeout="5")  # type: ignore[arg-type]
lock([], [], label=5)  # type: ignore[arg-type]
lock([], [], name="x")  # type: ignore[call-arg]
lock([PHOTOS]).acquire("yes")  # type: ignore[arg-type]
lock([PHOTOS]).acquire(timeout=None)  # type: ignore[arg-type]
lock([PHOTOS]).release(1)  # type: ignore[call-arg]
lock.acquire()  # type: ignore[attr-defined]
lock.release()  # type: ignore[attr-defined]


def locked_itself() -> None:
    """The lock must be called first."""
    with lock:  # type: ignore[attr-defined]
        pass


async def forgotten_async() -> None:
    """Entered without ``async with``."""
    lock([PHOTOS]).__aenter__()  # type: ignore[unused-coroutine, unused-ignore]
    value: int = await lock([PHOTOS]).__aenter__()  # type: ignore[func-returns-value, assignment]
    await lock([PHOTOS])  # type: ignore[misc]
    await lock([PHOTOS]).acquire()  # type: ignore[misc]


async def nothing_to_use() -> None:
    """``as`` gives ``None``."""
    async with lock([PHOTOS]) as entered:
        entered.release()  # type: ignore[attr-defined]


def falls_off_the_end() -> int:  # type: ignore[return]
    """Only if a ``with`` swallows errors could code get here after a ``return``; this one does not.
    """
    with lock([PHOTOS]):
        pass


# What is shown

for entry in lock.snapshot():
    entry.ticket = 5  # type: ignore[misc]
    entry.owner  # type: ignore[attr-defined]
    wrong: int = entry.waits_for  # type: ignore[assignment]
    label: str = entry.label  # type: ignore[assignment]
    entry.state == "hold"  # type: ignore[comparison-overlap]
lock.snapshot().entries = ()  # type: ignore[misc]
lock.snapshot()[0]  # type: ignore[index]
Root("both", PHOTOS)  # type: ignore[arg-type]
LockTimeout("text")  # type: ignore[call-arg]


def caught(error: LockTimeout) -> None:
    """An error's parts."""
    text: str = error.blocked  # type: ignore[assignment]
    error.blocker  # type: ignore[attr-defined]
    blocked: Blocked = error.blocked.blocker  # type: ignore[assignment]
    kind: asyncio.CancelledError = error  # type: ignore[assignment]
