"""Mixed file operations of a file server with 64 clients.

With nothing inside, the global lock would win, or no lock at all. So an operation yields once or
takes a millisecond, as a disk or a network does. The goal is for the yield: there the lock
determines the cost. With a millisecond the event loop does, and even no lock at all is only 2 to 3
times as fast as the seed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import cycle
from pathlib import PurePosixPath
from time import perf_counter, thread_time
from types import ModuleType
from typing import Any

from measure import Bench, Contender
from paths import Operation, operations
from peers import ASYNCIO, SEED, TREELOCK, UNLOCKED, Lock, Peer, all_peers, unlocked
from report import Against, Goal, Report, compared

CLIENTS = 64
OPERATIONS = 16_384
HEADLINE = f"{CLIENTS} tasks, a yield inside"
AGAINST = (
    Against("x the seed", SEED),
    Against("x asyncio.Lock", ASYNCIO),
    Against("x no lock", UNLOCKED),
)


@dataclass(frozen=True)
class Plan:
    """What all contenders have in common."""

    shares: list[list[Any]]
    """What each client does, again and again: pairs of what to read and what to write."""
    parse: bool
    """Whether these are texts, from which the client makes paths."""
    inside: float
    window: float


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    texts = operations(OPERATIONS)
    paths = [_kept(operation) for operation in texts]
    window = bench.pick(0.4, 0.15)
    plans = {
        HEADLINE: Plan(_shares(paths), False, 0, window),
        f"{HEADLINE}, paths made each time": Plan(_shares(texts), True, 0, window),
        f"{CLIENTS} tasks, 1 ms inside": Plan(_shares(paths), False, 0.001, window),
    }
    peers = [unlocked(bench.loop), *all_peers(seed)]
    for name, plan in bench.parts([*plans.items()]):
        title = f"Mixed file operations per second, {name}"
        contenders = [_contender(bench, peer, plan) for peer in peers]
        comparison = bench.compare(title, contenders, bench.few_rounds)
        report.comparisons[title] = comparison
        bench.print(compared(title, "per second", comparison, AGAINST))
        if name == HEADLINE:
            most = f"no lock: {comparison.ratio(UNLOCKED, SEED):.0f}x"
            measured = comparison.ratio(TREELOCK, SEED)
            goal = f"mixed, {name}: throughput vs. the seed ({most})"
            report.goals.append(Goal(goal, measured, must=10, stretch=15))


def _paths(texts: list[str]) -> list[PurePosixPath]:
    return [PurePosixPath(text) for text in texts]


def _kept(operation: Operation) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Returns the operation with paths that know their text and hash, as paths in use do."""
    paths = _paths(operation.reads), _paths(operation.writes)
    for path in (*paths[0], *paths[1]):
        str(path), hash(path)
    return paths


def _shares(todo: list[Any]) -> list[list[Any]]:
    return [todo[client::CLIENTS] for client in range(CLIENTS)]


def _contender(bench: Bench, peer: Peer, plan: Plan) -> Contender[float]:
    return Contender(peer.name, lambda: bench.run(_serve(peer, plan)))


class Clock:
    """Whether the window is over."""

    over = False

    def end(self) -> None:
        self.over = True


async def _serve(peer: Peer, plan: Plan) -> float:
    """Returns how many operations per second all clients did."""
    lock, clock = peer.make(), Clock()
    asyncio.get_running_loop().call_later(plan.window, clock.end)
    # Without timers the processor is never idle, so processor time is what counts.
    now = perf_counter if plan.inside else thread_time
    start = now()
    clients = (_client(share, lock, plan, clock) for share in plan.shares)
    done = sum(await asyncio.gather(*clients))
    return done / (now() - start)


async def _client(share: list[Any], lock: Lock, plan: Plan, clock: Clock) -> int:
    """Works until the window is over; returns how many operations it did."""
    done = 0
    for reads, writes in cycle(share):
        if clock.over:
            break
        if plan.parse:
            reads, writes = _paths(reads), _paths(writes)
        async with lock(reads, writes):
            await asyncio.sleep(plan.inside)
        done += 1
    return done
