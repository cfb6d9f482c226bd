"""The loops around what is timed. All are written out, so that none pays for a call more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


async def lock_each(lock: Any, nodes: Iterable[Any]) -> None:
    """Locks each node for writing, with a context manager of its own."""
    for node in nodes:
        async with lock([], [node]):
            pass


def lock_each_blocking(lock: Any, nodes: Iterable[Any]) -> None:
    """Does the same with ``with``, outside the event loop."""
    for node in nodes:
        with lock([], [node]):
            pass


async def enter_each(managers: Iterable[Any]) -> None:
    """Enters context managers that exist already."""
    for manager in managers:
        async with manager:
            pass


async def enter_for_each(manager: Any, nodes: Iterable[Any]) -> None:
    """Enters the same context manager for each node."""
    for _node in nodes:
        async with manager:
            pass


def only_make(nodes: Iterable[Any]) -> None:
    """Locks nothing: what it costs to make the nodes."""
    for _node in nodes:
        pass
