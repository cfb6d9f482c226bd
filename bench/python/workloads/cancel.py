"""Cancelling: all waiters of a long queue give up, in random order; then the holder releases."""

from __future__ import annotations

import random
from asyncio import create_task, sleep
from operator import attrgetter
from pathlib import PurePosixPath
from time import thread_time_ns
from types import ModuleType
from typing import NamedTuple

from measure import Bench, Contender
from paths import siblings
from peers import Peer, all_peers
from report import Report, times


class Times(NamedTuple):
    """Both in ns."""

    per_waiter: float
    release: float


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    waiters = bench.pick(10_000, 1_000)
    title = f"{waiters:,} waiters cancelled"
    contenders = [_contender(bench, peer, waiters) for peer in all_peers(seed)]
    comparison = bench.compare(title, contenders, bench.few_rounds)
    parts = {
        f"{title}, each": comparison.map(attrgetter("per_waiter")),
        f"{title}, the release after that": comparison.map(attrgetter("release")),
    }
    report.comparisons |= parts
    for name, part in parts.items():
        bench.print(times(name, part))


def _contender(bench: Bench, peer: Peer, waiters: int) -> Contender[Times]:
    bench.run(_give_up(peer, waiters // 10))  # a warm-up
    return Contender(peer.name, lambda: bench.run(_give_up(peer, waiters)))


async def _give_up(peer: Peer, waiters: int) -> Times:
    lock, node = peer.make(), PurePosixPath(siblings(4)[0])

    async def wait() -> None:
        async with lock([], [node]):
            raise AssertionError(f"{peer.name} let two in")

    async with lock([], [node]):
        waiting = [create_task(wait()) for _ in range(waiters)]
        await sleep(0)
        await sleep(0)  # now they are in line
        random.Random(7).shuffle(waiting)
        start = thread_time_ns()
        for task in waiting:
            task.cancel()
        await sleep(0)
        await sleep(0)  # now they are gone
        cancelled = thread_time_ns()
        assert all(task.cancelled() for task in waiting), f"{peer.name} lets waiters go at once"
        ready = thread_time_ns()
    return Times((cancelled - start) / waiters, thread_time_ns() - ready)
