"""The loops around the timed code. All are written out, so that none pays for an extra call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


async def lock_each(lock: Any, nodes: Iterable[Any]) -> None:
    """Locks each node for writing, with a new context manager."""
    for node in nodes:
        async with lock([], [node]):
            pass


def lock_each_blocking(lock: Any, nodes: Iterable[Any]) -> None:
    """Does the same with ``with``, outside the event loop."""
    for node in nodes:
        with lock([], [node]):
            pass


async def enter_each(managers: Iterable[Any]) -> None:
    """Enters existing context managers."""
    for manager in managers:
        async with manager:
            pass


async def enter_for_each(manager: Any, nodes: Iterable[Any]) -> None:
    """Enters the same context manager for each node."""
    for _node in nodes:
        async with manager:
            pass


def only_make(nodes: Iterable[Any]) -> None:
    """Locks nothing: the cost of making the nodes."""
    for _node in nodes:
        pass
