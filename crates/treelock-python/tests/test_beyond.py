"""What there is beyond the seed: time-outs that name the blocker, tries, labels, snapshots."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import Blocked, Entry, LockTimeout, Root, Snapshot, TreeLock

PATIENCE = 60
SHORT = 0.01
ROOT = PurePosixPath("/")
PHOTOS = PurePosixPath("/photos")
YEAR = PurePosixPath("/photos/2025")
TEMPLATES = PurePosixPath("/templates")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """As ``asyncio.run``, with an end to patience."""
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def turns(count: int) -> None:
    """Lets the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def visit(manager: Any, inside: Callable[[], Any] = lambda: None) -> None:
    """Enters and leaves."""
    async with manager:
        inside()


async def stay(manager: Any, over: asyncio.Event) -> None:
    """Enters, and leaves when it is told to."""
    async with manager:
        await over.wait()


async def started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that has come as far as it can."""
    task = asyncio.create_task(work)
    await turns(2)
    return task


def without_times(text: str) -> str:
    """The text as it is when nothing takes any time."""
    return re.sub(r"\d+\.\ds", "0.0s", text)


# Who is asked in both ways: with ``async with`` in a loop, and with ``with`` in no loop.


def enter_async(manager: Any) -> None:
    """Enters and leaves under a loop of its own."""
    run(visit(manager))


def enter_sync(manager: Any) -> None:
    """Enters and leaves without a loop."""
    with manager:
        pass


both_ways = pytest.mark.parametrize("enter", [enter_async, enter_sync])
tries_and_waits = pytest.mark.parametrize("timeout", [0, 0.0, SHORT])


# Time-outs


@both_ways
@tries_and_waits
def test_a_timeout_names_the_blocker(enter: Callable[[Any], None], timeout: float) -> None:
    """The error says who, where and how, in words and in values."""
    lock = TreeLock()
    with lock(write=[YEAR], label="import-7"):
        (held,) = lock.snapshot()
        with pytest.raises(LockTimeout) as caught:
            enter(lock(read=[PHOTOS], timeout=timeout))
    blocked = caught.value.blocked
    assert isinstance(blocked, Blocked)
    assert blocked.wanted == Root("read", PHOTOS)
    assert blocked.blocker == Root("write", YEAR)
    assert (blocked.label, blocked.state, blocked.ahead) == ("import-7", "held", 1)
    assert blocked.ticket == held.ticket
    assert isinstance(blocked.age, float) and blocked.age >= 0
    assert without_times(str(caught.value)) == (
        'read /photos is blocked by "import-7": write /photos/2025, held for 0.0s; 1 ahead'
    )


@both_ways
@tries_and_waits
@pytest.mark.parametrize("expected", [TimeoutError, asyncio.TimeoutError, LockTimeout, Exception])
def test_a_timeout_is_what_people_catch(
    enter: Callable[[Any], None], timeout: float, expected: type[Exception]
) -> None:
    """Up to Python 3.10, asyncio has a class of its own for it."""
    lock = TreeLock()
    with lock(write=[PHOTOS]):
        with pytest.raises(expected) as caught:
            enter(lock(write=[PHOTOS], timeout=timeout))
    assert type(caught.value) is LockTimeout


@both_ways
@tries_and_waits
def test_a_blocker_without_a_label_is_named_by_its_ticket(
    enter: Callable[[Any], None], timeout: float
) -> None:
    """The same number as in a snapshot."""
    lock = TreeLock()
    with lock(read=[ROOT]):
        (held,) = lock.snapshot()
        with pytest.raises(LockTimeout) as caught:
            enter(lock(write=[PHOTOS], timeout=timeout))
    assert caught.value.blocked.label is None
    assert without_times(str(caught.value)) == (
        f"write /photos is blocked by request #{held.ticket}: read /, held for 0.0s; 1 ahead"
    )


@both_ways
@tries_and_waits
def test_the_blocker_may_wait_itself(enter: Callable[[Any], None], timeout: float) -> None:
    """Whoever was first in line is named, and all who are ahead are counted."""
    lock, over = TreeLock(), threading.Event()

    def waiter(number: int) -> None:
        with lock(write=[PHOTOS], label=f"waiter-{number}"):
            over.wait(PATIENCE)

    threads = [threading.Thread(target=waiter, args=[number], daemon=True) for number in range(3)]
    with lock(write=[YEAR], label="holder"):
        for ready, thread in enumerate(threads):
            thread.start()
            while len(lock.snapshot().waiting) == ready:
                over.wait(0.001)
        with pytest.raises(LockTimeout) as caught:
            enter(lock(read=[PHOTOS / "2024", TEMPLATES], timeout=timeout))
        over.set()
    for thread in threads:
        thread.join(PATIENCE)
    blocked = caught.value.blocked
    assert (blocked.label, blocked.state, blocked.ahead) == ("waiter-0", "waiting", 3)
    assert (blocked.wanted, blocked.blocker) == (
        Root("read", PHOTOS / "2024"),
        Root("write", PHOTOS),
    )
    assert "waiting for" in str(caught.value) and str(caught.value).endswith("; 3 ahead")


@both_ways
@tries_and_waits
def test_of_several_roots_the_conflicting_ones_are_named(
    enter: Callable[[Any], None], timeout: float
) -> None:
    """Two requests with two roots each, of which one pair conflicts."""
    lock = TreeLock()
    with lock(read=[TEMPLATES, PHOTOS]):
        with pytest.raises(LockTimeout) as caught:
            enter(lock(write=[PurePosixPath("/music"), YEAR], timeout=timeout))
    assert caught.value.blocked.wanted == Root("write", YEAR)
    assert caught.value.blocked.blocker == Root("read", PHOTOS)


@both_ways
@tries_and_waits
def test_after_a_timeout_nothing_is_left(enter: Callable[[Any], None], timeout: float) -> None:
    """Neither in line nor held; and the same context manager may ask again."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS], timeout=timeout)
    with lock(read=[YEAR]):
        before = lock.snapshot().entries[0].ticket
        for _ in range(3):
            with pytest.raises(LockTimeout):
                enter(manager)
        assert [entry.ticket for entry in lock.snapshot()] == [before]
        assert not manager.locked()
    enter(manager)
    assert len(lock.snapshot()) == 0


def test_after_a_timeout_those_behind_go_on() -> None:
    """A reader waits for nothing but the writer in line; when that gives up, the reader goes in."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(read=[PHOTOS]):
            writer = await started(visit(lock(write=[YEAR], timeout=SHORT)))
            reader = await started(visit(lock(read=[YEAR])))
            assert len(lock.snapshot().waiting) == 2
            await reader
            with pytest.raises(LockTimeout):
                await writer

    run(main())


def test_after_a_timeout_of_a_thread_those_behind_go_on() -> None:
    """The same between threads."""
    lock = TreeLock()

    def writer() -> None:
        with pytest.raises(LockTimeout):
            enter_sync(lock(write=[YEAR], timeout=SHORT))

    def reader() -> None:
        enter_sync(lock(read=[YEAR]))

    with lock(read=[PHOTOS]):
        threads = [threading.Thread(target=work, daemon=True) for work in (writer, reader)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert len(lock.snapshot()) == 0


@both_ways
@pytest.mark.parametrize("timeout", [None, 0, SHORT, 1e6])
def test_a_timeout_does_no_harm_when_nothing_is_in_the_way(
    enter: Callable[[Any], None], timeout: float | None
) -> None:
    """Nor does an integer, or none."""
    lock = TreeLock()
    enter(lock(write=[PHOTOS], timeout=timeout))
    assert len(lock.snapshot()) == 0


def test_a_grant_in_time_is_no_timeout() -> None:
    """The lock comes while there is time left, and the time does not strike afterwards."""
    lock, over = TreeLock(), asyncio.Event()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(stay(lock(write=[PHOTOS], timeout=PATIENCE), over))
        await turns(2)
        assert len(lock.snapshot().held) == 1
        over.set()
        await waiter

    run(main())


def test_time_that_ends_in_the_body_does_not_matter() -> None:
    """``timeout`` is for the wait; who is inside may stay."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(slow(lock(write=[PHOTOS], timeout=0.5)))
        await waiter

    async def slow(manager: Any) -> None:
        async with manager:
            await asyncio.sleep(0.6)

    run(main())


def test_timeout_zero_takes_no_turn_of_the_loop() -> None:
    """It is a try: it answers at once, whatever the answer is."""
    lock = TreeLock()

    async def main() -> None:
        turned: list[int] = []
        asyncio.get_running_loop().call_soon(turned.append, 1)
        async with lock(write=[PHOTOS], timeout=0):
            with pytest.raises(LockTimeout):
                async with lock(write=[PHOTOS], timeout=0):
                    raise AssertionError("granted")
        assert turned == []

    run(main())


@both_ways
def test_a_try_does_not_overtake(enter: Callable[[Any], None]) -> None:
    """A try that conflicts with nobody who holds, but with somebody in line, is not granted."""
    lock = TreeLock()

    def writer() -> None:
        with lock(write=[YEAR], label="writer"):
            pass

    thread = threading.Thread(target=writer, daemon=True)
    with lock(read=[PHOTOS]):
        thread.start()
        while not lock.snapshot().waiting:
            threading.Event().wait(0.001)
        with pytest.raises(LockTimeout, match="writer"):
            enter(lock(read=[YEAR], timeout=0))
        assert lock(read=[YEAR]).acquire(blocking=False) is False
        enter(lock(read=[PHOTOS / "2024"], timeout=0))
    thread.join(PATIENCE)


def test_a_cancelled_wait_with_a_timeout_is_cancelled() -> None:
    """It neither turns into a time-out nor strikes later."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            waiter = await started(visit(lock(write=[PHOTOS], timeout=SHORT)))
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            await asyncio.sleep(SHORT * 2)
            assert len(lock.snapshot()) == 1

    run(main())


def test_a_timeout_in_flight_with_many() -> None:
    """Many tasks with one short time: each is told, none is left."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            visits = (visit(lock(write=[YEAR], timeout=SHORT)) for _ in range(100))
            results = await asyncio.gather(*visits, return_exceptions=True)
            assert {type(result) for result in results} == {LockTimeout}
            assert len(lock.snapshot()) == 1

    run(main())


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__
)
def test_a_timeout_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    """It crosses processes, as errors of a pool do."""
    lock = TreeLock()
    with lock(write=[YEAR], label="import-7"):
        with pytest.raises(LockTimeout) as caught:
            enter_sync(lock(read=[PHOTOS], timeout=0))
    other = again(caught.value)
    if isinstance(other, bytes):
        other = pickle.loads(other)
    assert type(other) is LockTimeout
    assert str(other) == str(caught.value)
    assert other.blocked == caught.value.blocked
    assert isinstance(other.blocked, Blocked) and isinstance(other.blocked.wanted, Root)


# Acquire, release, locked


def test_acquire_and_release() -> None:
    """The words of ``threading.Lock``."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert not manager.locked() and not lock.locked()
    assert manager.acquire() is True
    assert manager.locked() and lock.locked()
    manager.release()
    assert not manager.locked() and not lock.locked()


def test_release_of_what_is_not_held() -> None:
    """Also for the second time, and also while somebody else holds."""
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
    """Two readers through one context manager: each release gives back one."""
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
    """Also against oneself: the lock is not re-entrant."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert manager.acquire(False) is True
    assert manager.acquire(False) is False
    assert manager.acquire(blocking=False) is False
    assert len(lock.snapshot()) == 1
    manager.release()


def test_acquire_with_a_timeout() -> None:
    """It says whether, as ``threading.Lock.acquire`` does, and leaves nothing in line."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    assert manager.acquire(timeout=SHORT) is True
    assert lock(read=[YEAR]).acquire(timeout=SHORT) is False
    assert lock(read=[YEAR]).acquire(True, SHORT) is False
    assert lock(read=[YEAR]).acquire(timeout=0) is False
    assert len(lock.snapshot()) == 1
    manager.release()


def test_acquire_waits_as_long_as_the_manager_says() -> None:
    """By default; a timeout of its own comes first."""
    lock = TreeLock()
    with lock(write=[PHOTOS]):
        assert lock(write=[PHOTOS], timeout=0).acquire() is False
        assert lock(write=[PHOTOS], timeout=SHORT).acquire() is False
        assert lock(write=[PHOTOS], timeout=SHORT).acquire(timeout=-1) is False
        assert lock(write=[PHOTOS], timeout=1e6).acquire(timeout=SHORT) is False
        assert lock(write=[PHOTOS], timeout=1e6).acquire(blocking=False) is False
        assert len(lock.snapshot()) == 1


def test_acquire_may_wait_longer_than_the_manager_says() -> None:
    """The holder goes while there is time by the one measure, but not by the other."""
    lock = TreeLock()
    got: list[bool] = []
    patient = lock(write=[PHOTOS], timeout=0)

    def wait() -> None:
        got.append(patient.acquire(timeout=PATIENCE))

    thread = threading.Thread(target=wait, daemon=True)
    with lock(write=[PHOTOS]):
        thread.start()
        while not lock.snapshot().waiting:
            threading.Event().wait(0.001)
    thread.join(PATIENCE)
    assert got == [True]
    patient.release()


@pytest.mark.parametrize(
    "arguments", [{"blocking": False, "timeout": 1}, {"timeout": -2}, {"timeout": float("nan")}]
)
def test_acquire_refuses_what_means_nothing(arguments: dict[str, Any]) -> None:
    """As ``threading.Lock.acquire`` does."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])
    with pytest.raises(ValueError):
        threading.Lock().acquire(**arguments)
    with pytest.raises(ValueError):
        manager.acquire(**arguments)
    assert len(lock.snapshot()) == 0 and not manager.locked()


def test_acquired_in_a_thread_released_in_a_task() -> None:
    """The context manager is one, in whatever way it is entered and left."""
    lock = TreeLock()
    manager = lock(write=[PHOTOS])

    async def leave() -> None:
        waiter = await started(visit(lock(write=[PHOTOS])))
        manager.release()
        await waiter

    manager.acquire()
    run(leave())
    assert not lock.locked()


def test_no_roots() -> None:
    """A request for nothing is legal, granted at once, and in nobody's way."""
    lock = TreeLock()
    with lock(write=[ROOT]):
        with lock():
            assert len(lock.snapshot().held) == 2
            assert str(lock.snapshot()).splitlines()[2].endswith("  nothing")


# Labels and snapshots


def test_a_label_is_shown() -> None:
    """Or ``None``, and it is no key: several may have the same."""
    lock = TreeLock()
    with lock(read=[PHOTOS], label="x"), lock(read=[PHOTOS], label="x"), lock(read=[PHOTOS]):
        assert [entry.label for entry in lock.snapshot()] == ["x", "x", None]


@pytest.mark.parametrize("label", ["", "ä\N{SNOWMAN}", "two\nlines", 'a "quote"', "\0"])
def test_any_label(label: str) -> None:
    """Any text is kept as it is, and printed on one line."""
    lock = TreeLock()
    with lock(write=[PHOTOS], label=label):
        assert lock.snapshot().entries[0].label == label
        assert len(str(lock.snapshot()).splitlines()) == 2
        with pytest.raises(LockTimeout) as caught:
            enter_sync(lock(write=[PHOTOS], timeout=0))
    assert caught.value.blocked.label == label
    assert "\n" not in str(caught.value)


def scene(look: Callable[[TreeLock, Snapshot], None]) -> None:
    """One who holds, two who wait for it, one who waits for those, and one of no concern."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS], label="import-7"):
            tasks = [
                await started(visit(lock(read=[YEAR, TEMPLATES]))),
                await started(visit(lock(read=[TEMPLATES, PHOTOS], label="ä"))),
                await started(visit(lock(write=[TEMPLATES], label="agent"))),
            ]
            async with lock(read=[PurePosixPath("/music")]):
                look(lock, lock.snapshot())
        await asyncio.gather(*tasks)
        assert len(lock.snapshot()) == 0

    run(main())


def test_a_snapshot_shows_everybody() -> None:
    """The earliest first; who waits, for whom; and the roots as they were given."""

    def look(lock: TreeLock, snapshot: Snapshot) -> None:
        first = snapshot.entries[0].ticket
        shown = [
            (entry.ticket - first, entry.state, entry.label, entry.roots, entry.waits_for)
            for entry in snapshot.entries
        ]
        assert shown == [
            (0, "held", "import-7", (Root("write", PHOTOS),), None),
            (1, "waiting", None, (Root("read", YEAR), Root("read", TEMPLATES)), first),
            (2, "waiting", "ä", (Root("read", TEMPLATES), Root("read", PHOTOS)), first),
            (3, "waiting", "agent", (Root("write", TEMPLATES),), first + 1),
            (4, "held", None, (Root("read", PurePosixPath("/music")),), None),
        ]

    scene(look)


def test_a_snapshot_is_a_collection() -> None:
    """With an order, a length, and those who hold apart from those who wait."""

    def look(lock: TreeLock, snapshot: Snapshot) -> None:
        assert isinstance(snapshot, Snapshot) and isinstance(snapshot.entries, tuple)
        assert all(isinstance(entry, Entry) for entry in snapshot)
        assert tuple(snapshot) == snapshot.entries and len(snapshot) == 5
        assert snapshot.held == (snapshot.entries[0], snapshot.entries[4])
        assert snapshot.waiting == snapshot.entries[1:4]
        assert all(isinstance(root, Root) for entry in snapshot for root in entry.roots)
        assert all(isinstance(entry.age, float) and entry.age >= 0 for entry in snapshot)
        assert repr(snapshot).startswith("Snapshot([Entry(ticket=")

    scene(look)


def test_a_snapshot_prints_a_table() -> None:
    """One line for each request; the column of labels is as wide as the widest."""

    def look(lock: TreeLock, snapshot: Snapshot) -> None:
        a, b, c, d, e = (entry.ticket for entry in snapshot)
        for_a, for_b = f"{f'#{a}':>9}", f"{f'#{b}':>9}"
        assert without_times(str(snapshot)) == "\n".join(
            [
                "ticket  state         age  waits for  label     roots",
                f"{a:6}  held         0.0s             import-7  write /photos",
                f"{b:6}  waiting      0.0s  {for_a}            read /photos/2025, read /templates",
                f"{c:6}  waiting      0.0s  {for_a}  ä         read /templates, read /photos",
                f"{d:6}  waiting      0.0s  {for_b}  agent     write /templates",
                f"{e:6}  held         0.0s                       read /music",
            ]
        )

    scene(look)


def test_a_snapshot_of_nothing() -> None:
    """Is empty, and prints its head."""
    snapshot = TreeLock().snapshot()
    assert not snapshot and len(snapshot) == 0 and list(snapshot) == []
    assert snapshot.entries == snapshot.held == snapshot.waiting == ()
    assert str(snapshot) == "ticket  state         age  waits for  label  roots"
    assert repr(snapshot) == "Snapshot([])"


def test_a_snapshot_outlives_the_moment() -> None:
    """It is a value: what happens later does not change it."""
    lock = TreeLock()
    with lock(write=[PHOTOS]):
        before = lock.snapshot()
    assert len(before) == 1 and before.entries[0].roots == (Root("write", PHOTOS),)
    assert before.entries[0].state == "held"
    assert "write /photos" in str(before)


def test_tickets_are_never_used_twice() -> None:
    """And who comes later has the higher one."""
    lock = TreeLock()
    tickets = []
    for _ in range(10):
        with lock(write=[PHOTOS]):
            tickets.append(lock.snapshot().entries[0].ticket)
    assert tickets == sorted(set(tickets)) and len(tickets) == 10


def test_reads_and_writes_of_one_request_are_shown() -> None:
    """Both, with duplicates and all."""
    lock = TreeLock()
    with lock(read=[PHOTOS, PHOTOS], write=[TEMPLATES, PHOTOS]):
        (entry,) = lock.snapshot()
    given = [Root("read", PHOTOS)] * 2 + [Root("write", TEMPLATES), Root("write", PHOTOS)]
    assert sorted(entry.roots) == sorted(given)


class Colour:
    """A node that is no path and has no text of its own."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def parents(self) -> list[Colour]:
        return [Colour(*self.names[:depth]) for depth in range(len(self.names))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colour) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


def test_nodes_of_any_kind_are_shown() -> None:
    """What is shown equals what was given, also if it is no path."""
    lock = TreeLock()
    red, warm = Colour("warm", "red"), Colour("warm")
    with lock(write=[red], read=[PHOTOS]):
        (entry,) = lock.snapshot()
        assert set(entry.roots) == {Root("write", red), Root("read", PHOTOS)}
        with pytest.raises(LockTimeout) as caught:
            enter_sync(lock(read=[warm], timeout=0))
        assert isinstance(str(lock.snapshot()), str)
    assert caught.value.blocked.wanted == Root("read", warm)
    assert caught.value.blocked.blocker == Root("write", red)
    assert isinstance(str(caught.value), str)


@both_ways
@tries_and_waits
def test_nodes_that_nobody_else_knows_are_shown(
    enter: Callable[[Any], None], timeout: float
) -> None:
    """Who did not get the lock was alone with its node, and is gone when the error is made."""
    lock = TreeLock()
    warm, crimson = Colour("warm"), Colour("warm", "red", "crimson")
    with lock(write=[warm]):
        with pytest.raises(LockTimeout) as caught:
            enter(lock(read=[Colour("cold"), crimson], timeout=timeout))
    assert caught.value.blocked.wanted == Root("read", crimson)
    assert caught.value.blocked.blocker == Root("write", warm)
    assert "Colour object" in str(caught.value), "as Python shows it, for it has no text of its own"


def test_strings_are_shown() -> None:
    """In a lock of strings."""
    lock = TreeLock(strings=True)
    with lock(write=["/photos/2025"], read=["/templates"]):
        (entry,) = lock.snapshot()
        assert set(entry.roots) == {Root("write", "/photos/2025"), Root("read", "/templates")}
        with pytest.raises(
            LockTimeout, match="^read /photos is blocked by .*: write /photos/2025,"
        ):
            enter_sync(lock(read=["/photos"], timeout=0))


# Representation


def test_the_representation_of_a_lock() -> None:
    """As that of asyncio's locks."""
    lock = TreeLock()

    async def main() -> None:
        assert "[unlocked]" in repr(lock)
        async with lock(write=[PHOTOS]):
            assert re.fullmatch(
                r"<treelock\.TreeLock object at 0x[0-9a-f]+ \[locked\]>", repr(lock)
            )
            tasks = [await started(visit(lock(read=[YEAR]))) for _ in range(3)]
            assert "[locked, waiters:3]" in repr(lock)
        await asyncio.gather(*tasks)
        assert re.fullmatch(r"<treelock\.TreeLock object at 0x[0-9a-f]+ \[unlocked\]>", repr(lock))

    run(main())


def test_the_representation_of_a_manager() -> None:
    """It says whether this one holds, not whether anybody does."""
    lock = TreeLock()
    manager, other = lock(read=[PHOTOS]), lock(read=[PHOTOS])
    assert "[unlocked]" in repr(manager)
    with manager:
        assert "[locked]" in repr(manager)
        assert "[unlocked]" in repr(other)
    assert "[unlocked]" in repr(manager)


# Collected while held


def test_collected_while_held() -> None:
    """The lock is released, and a warning says what was held."""
    lock = TreeLock()
    manager = lock(write=[YEAR], read=[TEMPLATES])
    manager.acquire()
    gc.collect()
    with pytest.warns(ResourceWarning) as caught:
        del manager
        gc.collect()
    (message,) = (str(warning.message) for warning in caught)
    assert "/photos/2025" in message and "/templates" in message
    assert not lock.locked()


def test_collected_while_held_by_a_task() -> None:
    """Entered with ``__aenter__`` and forgotten; those who wait go on."""
    lock = TreeLock()

    async def main() -> None:
        manager = lock(write=[YEAR])
        await manager.__aenter__()
        waiter = await started(visit(lock(write=[PHOTOS])))
        with pytest.warns(ResourceWarning, match="/photos/2025"):
            del manager
            gc.collect()
        await waiter

    run(main())
    assert not lock.locked()


def test_collected_while_held_with_warnings_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error cannot be raised there; the lock is released all the same."""
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: raised.append(args.exc_type))
    lock = TreeLock()
    manager = lock(write=[YEAR])
    manager.acquire()
    del manager
    gc.collect()
    assert raised == [ResourceWarning], "pytest is set to make errors of warnings"
    assert not lock.locked()


def test_no_warning_for_what_was_left() -> None:
    """pytest makes an error of any warning."""
    lock = TreeLock()
    manager = lock(write=[YEAR])
    with manager:
        pass
    del manager
    gc.collect()


# Among asyncio's and contextlib's tools


def test_wait_for() -> None:
    """Cancels the wait; the error is asyncio's own."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS]):
            manager = lock(write=[PHOTOS])
            with pytest.raises(asyncio.TimeoutError) as caught:
                await asyncio.wait_for(manager.__aenter__(), SHORT)
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(visit(manager), SHORT)
            assert len(lock.snapshot()) == 1
        await asyncio.wait_for(manager.__aenter__(), PATIENCE)
        assert manager.locked()
        await asyncio.wait_for(manager.__aexit__(None, None, None), PATIENCE)
        assert not lock.locked()

    run(main())


def test_create_task() -> None:
    """The awaitables are coroutines to asyncio, and can be shown by it."""
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
    """A shielded wait goes on when the outer one is cancelled."""
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
    """The event loop's own timeout, and ours inside it."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS], label="holder"):
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(SHORT):
                    await visit(lock(write=[PHOTOS]))
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(LockTimeout, match="holder"):
                async with asyncio.timeout(PATIENCE):
                    await visit(lock(write=[PHOTOS], timeout=SHORT))
            assert len(lock.snapshot()) == 1

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup is of Python 3.11")
def test_task_group() -> None:
    """One who fails takes all with it, those who wait and those who hold."""
    lock, over = TreeLock(), asyncio.Event()

    async def fail() -> None:
        await turns(3)
        raise KeyError("broken")

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: F821
            async with asyncio.TaskGroup() as group:
                group.create_task(stay(lock(write=[PHOTOS]), over))
                group.create_task(stay(lock(read=[YEAR]), over))
                group.create_task(stay(lock(write=[ROOT], timeout=PATIENCE), over))
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert len(lock.snapshot()) == 0

    run(main())


def test_async_exit_stack() -> None:
    """Several context managers, left in reverse, also after a failure half-way."""
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
    """The same without a loop; what is popped stays locked."""
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
    """Entered by a thread, waited for by a task, and the other way round."""
    lock = TreeLock()

    async def main() -> None:
        with lock(read=[PHOTOS]):
            async with lock(read=[YEAR], timeout=0):
                assert len(lock.snapshot().held) == 2
            with pytest.raises(LockTimeout):
                async with lock(write=[YEAR], timeout=0):
                    raise AssertionError("granted")

    run(main())
