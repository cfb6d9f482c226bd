"""Locks held: the cost of a pair while others hold locks elsewhere in the tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from measure import Bench, Comparison, Contender
from paths import elsewhere, siblings
from peers import SEED, TREELOCK, Lock
from report import Goal, Report, Table, count, ratio
from treelock import TreeLock
from workloads.loops import lock_each

Crowd = tuple[str, int]


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    makes: dict[str, Any] = {TREELOCK: TreeLock, SEED: seed.TreeLock}
    # With 1e5 held, the seed needs half a gigabyte and half a minute.
    ours = [(TREELOCK, held) for held in (0, 1_000, bench.pick(100_000, 10_000))]
    crowds: list[Crowd] = [*ours, *((SEED, held) for held in (0, 1_000, bench.pick(10_000, 1_000)))]
    crowds = [*dict.fromkeys(crowds)]
    title = "Pair while others hold locks, depth 4"
    with _all_held(bench, [makes[name]() for name, _ in crowds], crowds) as contenders:
        comparison = bench.compare(title, contenders)
    report.comparisons[title] = comparison
    bench.print(_table(title, comparison, crowds))
    few, *_, many = (_name(crowd) for crowd in ours)
    name = f"0 to {ours[-1][1]:,} locks held: vs. none held"
    report.goals.append(Goal(name, comparison.ratio(many, few), 1.15, 1.05, less_is_better=True))


def _name(crowd: Crowd) -> str:
    return f"{crowd[0]}, {crowd[1]:,} held"


@contextmanager
def _all_held(
    bench: Bench, locks: list[Lock], crowds: list[Crowd]
) -> Iterator[list[Contender[float]]]:
    """Yields contenders whose locks are held by others as often as their crowds say."""
    managers = [
        lock([], [PurePosixPath(text)])
        for lock, (_, held) in zip(locks, crowds)
        for text in elsewhere(held)
    ]
    bench.run(_enter(managers))
    nodes = [PurePosixPath(text) for text in siblings(4)]
    try:
        yield [
            bench.timed(_name(crowd), partial(lock_each, lock), cycle(nodes))
            for lock, crowd in zip(locks, crowds)
        ]
    finally:
        bench.run(_leave(managers))


async def _enter(managers: list[Any]) -> None:
    for manager in managers:
        await manager.__aenter__()


async def _leave(managers: list[Any]) -> None:
    for manager in managers:
        await manager.__aexit__(None, None, None)


def _table(title: str, comparison: Comparison[float], crowds: list[Crowd]) -> Table:
    table = Table(title, ["", "ns", "x none held", "x faster than the seed with as many"])
    for crowd in crowds:
        name, held = crowd
        growth = comparison.ratio(_name(crowd), _name((name, 0)))
        seed = _name((SEED, held))
        known = seed in comparison.samples
        faster = ratio(comparison.ratio(seed, _name(crowd))) if known else "–"
        table.row(_name(crowd), count(comparison.median(_name(crowd))), ratio(growth), faster)
    return table
