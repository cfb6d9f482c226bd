"""Interleaved rounds and medians.

A shared machine drifts by a factor of two within minutes, so absolute times from different moments
cannot be compared. Contenders therefore take turns in short slices, in a rotating order, and a
ratio is the median of the ratios within the rounds. Work that only computes is measured in
processor time, so that other programs that run in between do not count.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import thread_time_ns
from typing import Any, Generic, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Contender(Generic[Sample]):
    """One of the things compared. A sample is the number of one round, in any unit."""

    name: str
    sample: Callable[[], Sample]


@dataclass(frozen=True)
class Comparison(Generic[Sample]):
    """The samples of all contenders, one per round."""

    samples: dict[str, list[Sample]]

    def map(self, function: Callable[[Sample], float]) -> Comparison[float]:
        """Returns the same comparison with ``function`` applied to each sample."""
        return Comparison({name: [*map(function, own)] for name, own in self.samples.items()})

    def median(self: Comparison[float], name: str) -> float:
        """Returns the median of a contender's samples."""
        return median(self.samples[name])

    def ratio(self: Comparison[float], above: str, below: str) -> float:
        """Returns the median of ``above / below`` within the rounds."""
        rounds = zip(self.samples[above], self.samples[below])
        return median(numerator / denominator for numerator, denominator in rounds)


class Bench:
    """How long and how often to measure, in which loop, and how far it has progressed."""

    def __init__(self, *, quick: bool, rounds: int | None, collect: bool, workloads: int) -> None:
        self.quick = quick
        self.rounds = rounds or self.pick(25, 7)
        self.loop = asyncio.new_event_loop()
        self.collect = collect
        # Writes to a terminal only. A workload is 1; its parts are fractions.
        layout = "{n:.1f}/{total} workloads {bar:12} {elapsed} {desc}"
        tqdm.monitor_interval = 0  # without a thread that runs beside the contenders
        self._bar = tqdm(total=workloads, bar_format=layout, disable=None)

    def pick(self, full: Item, quick: Item) -> Item:
        """Returns ``full`` or, with ``--quick``, ``quick``."""
        return quick if self.quick else full

    @property
    def few_rounds(self) -> int:
        """Returns the number of rounds for slow workloads: a third of the usual number, rounded up.
        """
        return -(-self.rounds // 3)

    def print(self, text: object) -> None:
        """Prints to standard output without tearing the progress bar."""
        self._bar.write(str(text), file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Ends the progress bar and the event loop."""
        self._bar.close()
        self.loop.close()

    def parts(self, parts: Sequence[Item]) -> Iterator[Item]:
        """Iterates over the parts of one workload and moves the progress bar."""
        for part in parts:
            yield part
            self._bar.update(1 / len(parts))

    def finished(self, workloads: int) -> None:
        """Moves the progress bar to this many finished workloads."""
        self._bar.n = workloads
        self._bar.refresh()

    def compare(
        self, title: str, contenders: Sequence[Contender[Sample]], rounds: int | None = None
    ) -> Comparison[Sample]:
        """Lets the contenders take turns; each must have been warmed up before."""
        rounds = rounds or self.rounds
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        with self._garbage_collection():
            for turn in range(rounds):
                self._bar.set_description_str(f"{title}, round {turn + 1} of {rounds}")
                first = turn % len(contenders)
                for contender in (*contenders[first:], *contenders[:first]):
                    samples[contender.name].append(contender.sample())
        return Comparison(samples)

    def timed(
        self,
        name: str,
        body: Callable[[Iterable[Item]], Any],
        endless: Iterator[Item],
    ) -> Contender[float]:
        """Returns a contender that runs ``body`` over some of the items. A sample is ns per item.

        ``body`` is a function or coroutine function that loops over the items.
        """

        def run(count: int) -> int:
            items = islice(endless, count)
            if inspect.iscoroutinefunction(body):
                return self.run(_elapsed(body, items))
            start = thread_time_ns()
            body(items)
            return thread_time_ns() - start

        enough = self.pick(3_000_000, 2_000_000)
        count = 1
        # Doubling until a slice is filled serves as both calibration and warm-up.
        while run(count) < enough:
            count *= 2
        return Contender(name, lambda: run(count) / count)

    def run(self, coroutine: Coroutine[Any, Any, Item]) -> Item:
        """Runs a coroutine in the loop that all contenders share."""
        return self.loop.run_until_complete(coroutine)

    @contextmanager
    def _garbage_collection(self) -> Iterator[None]:
        """Collects now and exempts what is left, so that no contender pays for another's objects.
        """
        gc.collect()
        gc.freeze()
        if not self.collect:
            gc.disable()
        try:
            yield
        finally:
            gc.enable()
            gc.unfreeze()


async def _elapsed(body: Callable[[Iterable[Item]], Any], items: Iterable[Item]) -> int:
    start = thread_time_ns()
    await body(items)
    return thread_time_ns() - start
