"""Pairs: acquiring and releasing one write lock on an uncontended path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import cycle, repeat
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from measure import Bench, Comparison, Contender
from paths import siblings
from peers import ASYNCIO, RWLOCK, SEED, TREELOCK, PythonNoOp, c_no_op, fast_rwlock
from report import Goal, Report, times
from treelock import TreeLock
from workloads.loops import enter_each, enter_for_each, lock_each, lock_each_blocking, only_make

REUSED = f"{TREELOCK}, context manager reused"
BLOCKING = f"{TREELOCK}, with"


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    cases = [(depth, new) for depth in (1, 4, 8, 16) for new in (False, True)]
    for depth, new in bench.parts(cases):
        title = f"Pair, PurePosixPath{' made each time' if new else ''}, depth {depth}"
        contenders = new_paths(bench, seed, depth) if new else kept_paths(bench, seed, depth)
        comparison = bench.compare(title, contenders)
        report.comparisons[title] = comparison
        bench.print(times(title, comparison))
        if not new:
            report.goals += goals(comparison, depth)


def goals(comparison: Comparison[float], depth: int) -> list[Goal]:
    bounds = {4: (40, 60), 8: (60, 90)}.get(depth)
    if bounds is None:
        return []
    faster = comparison.ratio(SEED, TREELOCK)
    reused = comparison.ratio(REUSED, TREELOCK)
    return [
        Goal(f"pair, PurePosixPath, depth {depth}: faster than the seed", faster, *bounds),
        Goal(f"pair, depth {depth}: reused vs. new", reused, 0.8, less_is_better=True),
    ]


def kept_paths(bench: Bench, seed: ModuleType, depth: int) -> list[Contender[float]]:
    """Returns contenders for existing paths with cached hash and text, as in a server's tables."""
    paths = [PurePosixPath(text) for text in siblings(depth)]
    nothing = repeat(PythonNoOp([], []))
    return [
        *all_ways(bench, TreeLock(), paths),
        bench.timed(SEED, partial(lock_each, seed.TreeLock()), cycle(paths)),
        bench.timed(ASYNCIO, enter_each, repeat(asyncio.Lock())),
        bench.timed(f"{RWLOCK}, writer", enter_each, repeat(fast_rwlock().writer)),
        bench.timed("floor: no-op in Python, new", partial(lock_each, PythonNoOp), cycle(paths)),
        bench.timed("floor: no-op in Python, reused", enter_each, nothing),
        bench.timed("floor: no-op in C, reused", enter_each, repeat(c_no_op(bench.loop))),
    ]


def all_ways(bench: Bench, lock: TreeLock, nodes: list[Any]) -> list[Contender[float]]:
    """Returns all ways to use treelock."""
    managers = [lock([], [node]) for node in nodes]
    return [
        bench.timed(TREELOCK, partial(lock_each, lock), cycle(nodes)),
        bench.timed(REUSED, enter_each, cycle(managers)),
        bench.timed(BLOCKING, partial(lock_each_blocking, lock), cycle(nodes)),
    ]


def new_paths(bench: Bench, seed: ModuleType, depth: int) -> list[Contender[float]]:
    """Returns contenders that make each path from text, as from a request, with nothing cached."""
    texts = siblings(depth)
    lock = TreeLock()

    def made() -> Iterator[PurePosixPath]:
        return map(PurePosixPath, cycle(texts))

    return [
        bench.timed(TREELOCK, partial(lock_each, lock), made()),
        bench.timed(BLOCKING, partial(lock_each_blocking, lock), made()),
        bench.timed(SEED, partial(lock_each, seed.TreeLock()), made()),
        bench.timed(ASYNCIO, partial(enter_for_each, asyncio.Lock()), made()),
        bench.timed(f"{RWLOCK}, writer", partial(enter_for_each, fast_rwlock().writer), made()),
        bench.timed("floor: only making the path", only_make, made()),
    ]
