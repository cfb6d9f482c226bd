"""Hand-off: many tasks want to write one node; the time from one holder to the next.

Each holder yields once, because a lock that wakes all waiters at once can hide it as long as none
yields.
"""

from __future__ import annotations

from asyncio import create_task, sleep
from pathlib import PurePosixPath
from time import thread_time_ns
from types import ModuleType

from measure import Bench, Contender
from paths import siblings
from peers import ASYNCIO, TREELOCK, Peer, all_peers
from report import Goal, Report, times


def run(bench: Bench, report: Report, seed: ModuleType) -> None:
    for tasks in bench.parts([100, 1_000]):
        title = f"Hand-off, {tasks:,} tasks"
        contenders = [_contender(bench, peer, tasks) for peer in all_peers(seed)]
        comparison = bench.compare(title, contenders)
        report.comparisons[title] = comparison
        bench.print(times(title, comparison))
        measured = comparison.ratio(TREELOCK, ASYNCIO)
        name = f"hand-off, {tasks:,} tasks: vs. asyncio.Lock"
        report.goals.append(Goal(name, measured, must=2, stretch=1.3, less_is_better=True))


def _contender(bench: Bench, peer: Peer, tasks: int) -> Contender[float]:
    repetitions = max(1, bench.pick(1_000, 500) // tasks)

    def sample() -> float:
        return sum(bench.run(_chain(peer, tasks)) for _ in range(repetitions)) / repetitions

    sample()  # a warm-up
    return Contender(peer.name, sample)


async def _chain(peer: Peer, tasks: int) -> float:
    """Returns ns per hand-off, from the first release to the end of the last task."""
    lock, node = peer.make(), PurePosixPath(siblings(4)[0])

    async def hold() -> None:
        async with lock([], [node]):
            await sleep(0)

    async with lock([], [node]):
        waiting = [create_task(hold()) for _ in range(tasks)]
        await sleep(0)
        await sleep(0)  # now they are in line
        start = thread_time_ns()
    await waiting[-1]
    elapsed = thread_time_ns() - start
    assert all(task.done() for task in waiting), f"{peer.name} is first come, first served"
    return elapsed / tasks
