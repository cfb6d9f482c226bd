"""What a lock shows of itself: labels, snapshots, representations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from conftest import nothing_is_left
from nodes import PHOTOS, TEMPLATES, YEAR, A, Colour, Name
from tasks import enter_sync, pass_through, run, started, without_times
from treelock import Entry, LockTimeout, Root, Snapshot, TreeLock

# ------------------------------------------------------------------------------------- labels


def test_a_label_is_shown() -> None:
    """It may be ``None``, and is not a key: several requests may have the same label."""
    lock = TreeLock()
    with lock(read=[PHOTOS], label="x"), lock(read=[PHOTOS], label="x"), lock(read=[PHOTOS]):
        assert [entry.label for entry in lock.snapshot()] == ["x", "x", None]


@pytest.mark.parametrize("label", ["", "ä\N{SNOWMAN}", "two\nlines", 'a "quote"', "\0"])
def test_any_label(label: str) -> None:
    """Any text is kept unchanged, and printed on one line."""
    lock = TreeLock()
    with lock(write=[PHOTOS], label=label):
        assert lock.snapshot().entries[0].label == label
        assert len(str(lock.snapshot()).splitlines()) == 2
        with pytest.raises(LockTimeout) as caught:
            enter_sync(lock(write=[PHOTOS], timeout=0))
    assert caught.value.blocked.label == label
    assert "\n" not in str(caught.value)


def test_a_label_that_no_file_can_hold() -> None:
    """Half a surrogate pair is escaped, so that messages can be printed."""
    lock = TreeLock()
    with lock(write=[A], label="a\udc80b"):
        with pytest.raises(LockTimeout) as caught, lock(read=[A], timeout=0):
            pytest.fail("entered")
        for text in (str(lock.snapshot()), str(caught.value)):
            assert r"\udc80b" in text
            assert text.encode()
    nothing_is_left(lock)


# ---------------------------------------------------------------------------------- snapshots


def scene(look: Callable[[TreeLock, Snapshot], None]) -> None:
    """Sets up one holder, two that wait for it, one that waits for those, and one unrelated."""
    lock = TreeLock()

    async def main() -> None:
        async with lock(write=[PHOTOS], label="import-7"):
            tasks = [
                await started(pass_through(lock(read=[YEAR, TEMPLATES]))),
                await started(pass_through(lock(read=[TEMPLATES, PHOTOS], label="ä"))),
                await started(pass_through(lock(write=[TEMPLATES], label="agent"))),
            ]
            async with lock(read=[PurePosixPath("/music")]):
                look(lock, lock.snapshot())
        await asyncio.gather(*tasks)
        assert len(lock.snapshot()) == 0

    run(main())


def test_a_snapshot_shows_everybody() -> None:
    """It shows the earliest first, what each waits for, and the roots as they were given."""

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
    """It has an order and a length, and separates holders from waiters."""

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
    """One line per request; the column of labels is as wide as the widest label."""

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
    """It is empty, and prints only its header."""
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
    """The later request has the higher ticket."""
    lock = TreeLock()
    tickets = []
    for _ in range(10):
        with lock(write=[PHOTOS]):
            tickets.append(lock.snapshot().entries[0].ticket)
    assert tickets == sorted(set(tickets)) and len(tickets) == 10


def test_reads_and_writes_of_one_request_are_shown() -> None:
    """Both are shown, including duplicates."""
    lock = TreeLock()
    with lock(read=[PHOTOS, PHOTOS], write=[TEMPLATES, PHOTOS]):
        (entry,) = lock.snapshot()
    given = [Root("read", PHOTOS)] * 2 + [Root("write", TEMPLATES), Root("write", PHOTOS)]
    assert sorted(entry.roots) == sorted(given)


# -------------------------------------------------------------------------------------- nodes


def test_nodes_of_any_kind_are_shown() -> None:
    """What is shown equals what was given, even if it is not a path."""
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


def test_strings_are_shown() -> None:
    """The same in a lock of strings."""
    lock = TreeLock(strings=True)
    with lock(write=["/photos/2025"], read=["/templates"]):
        (entry,) = lock.snapshot()
        assert set(entry.roots) == {Root("write", "/photos/2025"), Root("read", "/templates")}
        with pytest.raises(
            LockTimeout, match="^read /photos is blocked by .*: write /photos/2025,"
        ):
            enter_sync(lock(read=["/photos"], timeout=0))


def test_messages_and_tables_have_no_control_characters() -> None:
    """Neither those of a path nor those that a node prints."""

    class Loud(Name):
        __hash__ = Name.__hash__

        def __repr__(self) -> str:
            return "loud\n\x1b[31m"

    lock = TreeLock()
    shown: list[tuple[Any, str]] = [
        (PurePosixPath("/x\ny\t"), r"/x\ny\t"),
        (Loud("x"), r"loud\n\u{1b}[31m"),
    ]
    for node, text in shown:
        with lock(write=[node]):
            with pytest.raises(LockTimeout) as refused:
                lock(read=[node], timeout=0).__enter__()
            table = str(lock.snapshot())
        assert text in str(refused.value) and text in table
        assert str(refused.value).isprintable()
        assert all(line.isprintable() for line in table.split("\n"))
        assert len(table.splitlines()) == 2


def test_nodes_that_release_the_others_while_they_are_printed() -> None:
    """It shows exactly the nodes that were in use when the snapshot was taken."""

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


def test_a_relative_windows_path_with_a_colon_is_shown_as_it_is() -> None:
    lock = TreeLock()
    path = PureWindowsPath("./c:x")
    assert not path.drive
    with lock(write=[path]):
        (entry,) = lock.snapshot()
        shown = entry.roots[0].node
    assert (shown, shown.drive, shown.parts) == (path, "", ("c:x",))


# ----------------------------------------------------------------------------- representation


def test_the_representation_of_a_lock() -> None:
    """It looks like that of asyncio's locks."""
    lock = TreeLock()

    async def main() -> None:
        assert "[unlocked]" in repr(lock)
        async with lock(write=[PHOTOS]):
            assert re.fullmatch(
                r"<treelock\.TreeLock object at 0x[0-9a-f]+ \[locked\]>", repr(lock)
            )
            tasks = [await started(pass_through(lock(read=[YEAR]))) for _ in range(3)]
            assert "[locked, waiters:3]" in repr(lock)
        await asyncio.gather(*tasks)
        assert re.fullmatch(r"<treelock\.TreeLock object at 0x[0-9a-f]+ \[unlocked\]>", repr(lock))

    run(main())


def test_the_representation_of_a_manager() -> None:
    """It says whether this one holds, not whether any request does."""
    lock = TreeLock()
    manager, other = lock(read=[PHOTOS]), lock(read=[PHOTOS])
    assert "[unlocked]" in repr(manager)
    with manager:
        assert "[locked]" in repr(manager)
        assert "[unlocked]" in repr(other)
    assert "[unlocked]" in repr(manager)
