"""Shared by the tests of leaks: nodes, tasks, and whether anything is left of them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Coroutine, Iterable
from pathlib import PurePosixPath
from typing import Any

LONG_SECONDS = 20
"""No wait takes as long as this, unless it hangs."""

SHORT_SECONDS = 0.001
"""For waits that must fail."""


class Node:
    """A node in pure Python."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def parents(self) -> list[Node]:
        return [Node(*self.names[:depth]) for depth in range(len(self.names))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


class WeakPath(PurePosixPath):
    """A path that can be referenced weakly."""


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Works like ``asyncio.run``, with a time limit."""
    return asyncio.run(asyncio.wait_for(main, LONG_SECONDS))


async def pass_through(manager: Any) -> None:
    """Enters and exits."""
    async with manager:
        await asyncio.sleep(0)


def all_dead(references: Iterable[weakref.ref[Any]]) -> bool:
    """Returns whether nothing is left of the referenced objects."""
    gc.collect()
    return all(reference() is None for reference in references)
