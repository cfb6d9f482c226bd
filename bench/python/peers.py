"""The locks that are compared, and the minimum cost of any of them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import aiorwlock
import treelock

Lock = Callable[[list[Any], list[Any]], Any]
"""A tree lock: ``lock(read, write)`` is a context manager for ``async with``."""

TREELOCK = "treelock"
SEED = "seed"
ASYNCIO = "asyncio.Lock"
RWLOCK = "aiorwlock"
UNLOCKED = "no lock"


@dataclass(frozen=True)
class Peer:
    """A lock, called like a tree lock whatever it is."""

    name: str
    make: Callable[[], Lock]


def all_peers(seed: ModuleType) -> list[Peer]:
    """Returns all locks that can wait."""
    return [
        Peer(TREELOCK, treelock.TreeLock),
        Peer(SEED, seed.TreeLock),
        Peer(ASYNCIO, _global_lock),
        Peer(RWLOCK, _global_rwlock),
    ]


def unlocked(loop: asyncio.AbstractEventLoop) -> Peer:
    """Returns a peer that locks nothing: the theoretical maximum, and incorrect."""
    nothing = c_no_op(loop)
    return Peer(UNLOCKED, lambda: lambda read, write: nothing)


def _global_lock() -> Lock:
    lock = asyncio.Lock()
    return lambda read, write: lock


def _global_rwlock() -> Lock:
    lock = fast_rwlock()
    return lambda read, write: lock.writer if write else lock.reader


def fast_rwlock() -> aiorwlock.RWLock:
    """Returns a lock that does not go through the event loop each time, as it does by default."""
    return aiorwlock.RWLock(fast=True)


class PythonNoOp:
    """The minimum cost of a context manager with coroutines in Python."""

    def __init__(self, read: list[Any], write: list[Any]) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def c_no_op(loop: asyncio.AbstractEventLoop) -> Any:
    """Returns a context manager that does nothing, without running any Python code.

    The standard library has nothing of this kind, but it has the parts: a finished future is an
    awaitable in C; an endless iterator returns it when called without arguments; and so does a
    function with a cache, when it is called again with the arguments of an exit without an
    exception.
    """
    finished = loop.create_future()
    finished.set_result(None)

    class CNoOp:
        __aenter__ = staticmethod(itertools.repeat(finished).__next__)
        __aexit__ = staticmethod(functools.lru_cache(maxsize=None)(lambda *_: finished))

    return CNoOp()


def load_seed(directory: Path) -> ModuleType:
    """Returns the seed, loaded from its directory under a separate name.

    As ``treelock`` it would replace the package that we measure, or measure itself.
    """
    own = "fifolock" in sys.modules
    fifolock = _load("seed_fifolock", directory / "fifolock.py")
    sys.modules.setdefault("fifolock", fifolock)  # as the seed imports it
    try:
        return _load("seed_treelock", directory / "treelock.py")
    finally:
        if not own:
            del sys.modules["fifolock"]


def _load(name: str, file: Path) -> ModuleType:
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, f"{file} is a Python file"
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
