"""What is in the way: what a timeout says, in words and in values."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import Blocked, LockTimeout, Root, TreeLock

from conftest import hold, nothing_is_left
from nodes import PHOTOS, ROOT, TEMPLATES, YEAR, Colour, Shy
from tasks import LONG_SECONDS, both_ways, enter_sync, tries_and_waits, without_times


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
    """Up to Python 3.10, asyncio has its own class for it."""
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
    """It is the same number as in a snapshot."""
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
    """The first in line is named, and all that are ahead are counted."""
    lock, over = TreeLock(), threading.Event()

    def waiter(number: int) -> None:
        with lock(write=[PHOTOS], label=f"waiter-{number}"):
            over.wait(LONG_SECONDS)

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
        thread.join(LONG_SECONDS)
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
def test_nodes_that_nobody_else_knows_are_shown(
    enter: Callable[[Any], None], timeout: float
) -> None:
    """Only the refused request knew its node, and it is gone when the error is created."""
    lock = TreeLock()
    warm, crimson = Colour("warm"), Colour("warm", "red", "crimson")
    with lock(write=[warm]):
        with pytest.raises(LockTimeout) as caught:
            enter(lock(read=[Colour("cold"), crimson], timeout=timeout))
    assert caught.value.blocked.wanted == Root("read", crimson)
    assert caught.value.blocked.blocker == Root("write", warm)
    assert "Colour object" in str(caught.value), "as Python shows it, without its own text"


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__
)
def test_a_timeout_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    """It crosses processes, as the errors of a pool do."""
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


async def test_messages_about_nodes_that_cannot_be_printed() -> None:
    """They are raised anyway, and say everything else."""
    lock = TreeLock()
    node = Shy()
    holder = await hold(lock(write=[node], label="import-7"))
    assert "import-7" in str(lock.snapshot())
    assert lock.snapshot().entries[0].roots[0].node is node
    with pytest.raises(LockTimeout, match="import-7") as caught:
        async with lock(write=[node], timeout=0):
            pytest.fail("entered")
    assert caught.value.blocked.blocker.node is node
    with pytest.raises(LockTimeout, match="import-7"), lock(read=[node], timeout=0):
        pytest.fail("entered")
    with pytest.raises(RuntimeError, match="import-7"), lock(read=[node]):
        pytest.fail("entered")
    await holder.leave()
    nothing_is_left(lock)
