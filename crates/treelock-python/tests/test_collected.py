"""Context managers that are collected while they hold: the lock is released, with a warning."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from treelock import TreeLock

from conftest import can_have, nothing_is_left
from nodes import PHOTOS, TEMPLATES, YEAR, A, B, Shy
from tasks import pass_through, run, started


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
    """Entered with ``__aenter__`` and forgotten; the waiting tasks proceed."""
    lock = TreeLock()

    async def main() -> None:
        manager = lock(write=[YEAR])
        await manager.__aenter__()
        waiter = await started(pass_through(lock(write=[PHOTOS])))
        with pytest.warns(ResourceWarning, match="/photos/2025"):
            del manager
            gc.collect()
        await waiter

    run(main())
    assert not lock.locked()


def test_collected_while_held_with_warnings_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error cannot be raised there; the lock is released anyway."""
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
    """pytest turns any warning into an error."""
    lock = TreeLock()
    manager = lock(write=[YEAR])
    with manager:
        pass
    del manager
    gc.collect()


# ---------------------------------------------------------------------- what the warning says


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Yields a hook that is called with each warning, and then the warnings."""
    hooks: list[Any] = []

    def show(message: Any, *arguments: Any, **keywords: Any) -> None:
        for hook in [each for each in hooks if callable(each)]:
            hook()
        hooks.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        yield hooks
        monkeypatch.undo()


def test_a_warning_that_locks(told: list[Any]) -> None:
    """When the warning is shown, the lock it is about has already been released."""
    lock = TreeLock()
    granted: list[bool] = []

    def acquire() -> None:
        with lock(write=[A], timeout=0):
            granted.append(not can_have(lock, read=[A]))

    told.append(acquire)
    lock(write=[A]).acquire()
    gc.collect()
    assert granted == [True]
    assert len(told) == 2
    nothing_is_left(lock)


def test_a_warning_says_what_was_held(told: list[str]) -> None:
    """It names them like messages and snapshots do, even if the roots came from an iterator."""
    lock = TreeLock()
    lock(read=iter([A]), write=[B]).acquire()
    gc.collect()
    assert len(told) == 1
    assert "read /a" in told[0] and "write /b" in told[0]
    nothing_is_left(lock)


@pytest.mark.parametrize("roots_first", [False, True])
def test_a_warning_says_what_was_held_in_a_cycle(told: list[str], roots_first: bool) -> None:
    """It does so even if the list of roots was cleared first, as the garbage collector may do."""

    class Owner:
        roots: list[Any]
        manager: Any

    lock = TreeLock()
    first: list[Any] = []
    owner = Owner()
    owner.roots = first if roots_first else []
    owner.roots.append(A)
    owner.manager = lock(write=owner.roots)
    owner.manager.acquire()
    owner.roots.append(owner)
    del first, owner
    gc.collect()
    assert len(told) == 1
    assert "write /a" in told[0]
    nothing_is_left(lock)


def test_a_warning_says_what_was_held_when_the_list_was_changed(told: list[str]) -> None:
    """It names what was locked, not what the list contains by now."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    manager.acquire()
    roots[:] = [B]
    del manager
    gc.collect()
    assert len(told) == 1
    assert "write /a" in told[0] and "/b" not in told[0]
    nothing_is_left(lock)


def test_a_warning_about_nodes_that_cannot_be_printed(told: list[str]) -> None:
    """The warning appears, and names the other nodes."""
    lock = TreeLock()
    lock(read=[A], write=[Shy()]).acquire()
    gc.collect()
    assert len(told) == 1
    assert "read /a" in told[0]
    nothing_is_left(lock)
