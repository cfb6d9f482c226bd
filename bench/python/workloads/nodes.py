"""Pairs on other nodes: plain Python objects, Windows paths, strings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import cycle, repeat
from pathlib import PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

from measure import Bench, Contender
from paths import Node, siblings
from peers import ASYNCIO, SEED, TREELOCK
from report import Goal, Report, times
from treelock import TreeLock
from workloads.loops import enter_each, lock_each
from workloads.pairs import all_ways


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    kinds: dict[str, list[Any]] = {
        "generic nodes, depth 4": _generic(4),
        "generic nodes, depth 8": _generic(8),
        "PureWindowsPath, depth 4": [PureWindowsPath("c:" + text) for text in siblings(4)],
        "strings, depth 4": siblings(4),
    }
    for kind, nodes in bench.parts([*kinds.items()]):
        strings = isinstance(nodes[0], str)
        paths: Iterator[Any] = map(PurePosixPath, cycle(nodes)) if strings else cycle(nodes)
        comparison = bench.compare(
            f"Pair, {kind}",
            [
                *all_ways(bench, TreeLock(strings=strings), nodes),
                bench.timed(SEED, partial(lock_each, seed.TreeLock()), paths),
                bench.timed(ASYNCIO, enter_each, repeat(asyncio.Lock())),
                *([] if strings else [_floor(bench, nodes)]),
            ],
        )
        report.comparisons[f"Pair, {kind}"] = comparison
        table = times(f"Pair, {kind}", comparison)
        if strings:
            table.notes.append("The seed takes no strings: it gets a `PurePosixPath` made of each.")
        bench.print(table)
        if isinstance(nodes[0], Node):
            faster = comparison.ratio(SEED, TREELOCK)
            report.goals.append(Goal(f"pair, {kind}: faster than the seed", faster, must=3))


def _generic(depth: int) -> list[Node]:
    return [Node(tuple(text.split("/")[1:])) for text in siblings(depth)]


def _floor(bench: Bench, nodes: list[Any]) -> Contender[float]:
    return bench.timed("floor: the ancestors and their hashes", _only_look, cycle(nodes))


def _only_look(nodes: Iterable[Any]) -> None:
    """Locks nothing: a lock that knows nothing about the nodes must ask them at least this."""
    for node in nodes:
        hash(node)
        for parent in node.parents:
            hash(parent)
