"""Markdown tables, the goals, and readable numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from measure import Comparison
from peers import ASYNCIO, SEED


@dataclass
class Table:
    """A Markdown table under a heading, with sentences below."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, *cells: str) -> None:
        self.rows.append([*cells])

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows)]
        # Names are aligned left and numbers right, as in print.
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

        def line(cells: list[str]) -> str:
            pairs = [*zip(cells, widths)]
            name, width = pairs[0]
            numbers = (f"{cell:>{width}}" for cell, width in pairs[1:])
            return f"| {' | '.join([f'{name:<{width}}', *numbers])} |"

        body = [line(cells) for cells in (self.header, rule, *self.rows)]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}\n", *body, *notes, ""])


@dataclass(frozen=True)
class Goal:
    """What a measured ratio must reach, and what it should reach."""

    name: str
    measured: float
    must: float
    stretch: float | None = None
    less_is_better: bool = False

    def reached(self, bound: float | None) -> bool:
        if bound is None:
            return False
        return self.measured <= bound if self.less_is_better else self.measured >= bound

    @property
    def verdict(self) -> str:
        if self.reached(self.stretch):
            return "yes, stretch"
        return "yes" if self.reached(self.must) else "**no**"

    def bound(self, value: float | None) -> str:
        return "–" if value is None else f"{'≤' if self.less_is_better else '≥'} {value:g}x"


@dataclass
class Report:
    """Everything that was measured: the raw samples and the goals."""

    comparisons: dict[str, Comparison[float]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def goal_table(self) -> Table:
        table = Table("Goals", ["goal", "measured", "must", "stretch", "reached"])
        for goal in self.goals:
            bounds = [goal.bound(goal.must), goal.bound(goal.stretch)]
            table.row(goal.name, ratio(goal.measured), *bounds, goal.verdict)
        return table

    def json(self) -> dict[str, Any]:
        """Returns what ``--json`` writes: samples in ns or per second, as the titles say."""
        samples = {title: comparison.samples for title, comparison in self.comparisons.items()}
        goals = [
            {
                "goal": goal.name,
                "measured": goal.measured,
                "must": goal.must,
                "stretch": goal.stretch,
                "less_is_better": goal.less_is_better,
                "reached": goal.verdict.strip("*"),
            }
            for goal in self.goals
        ]
        return {"samples": samples, "goals": goals}


@dataclass(frozen=True)
class Against:
    """A column of ratios: a contender's number relative to that of ``peer``, or the reverse."""

    heading: str
    peer: str
    reverse: bool = False

    def cell(self, comparison: Comparison[float], name: str) -> str:
        if self.peer not in comparison.samples:
            return "–"
        above, below = (self.peer, name) if self.reverse else (name, self.peer)
        return ratio(comparison.ratio(above, below))


def compared(
    title: str,
    unit: str,
    comparison: Comparison[float],
    against: Sequence[Against],
) -> Table:
    """Returns a table with a row per contender: its median, and the ratios to its peers."""
    table = Table(title, ["", unit, *(column.heading for column in against)])
    for name in comparison.samples:
        cells = (column.cell(comparison, name) for column in against)
        table.row(name, count(comparison.median(name)), *cells)
    return table


def times(title: str, comparison: Comparison[float]) -> Table:
    """Returns the table of a comparison of times."""
    seed = Against("x faster than the seed", SEED, reverse=True)
    return compared(title, "ns", comparison, [seed, Against("x asyncio.Lock's time", ASYNCIO)])


def ratio(value: float) -> str:
    """Returns a ratio with three digits, as far as they are meaningful."""
    if abs(value) < 0.1:
        return f"{value:.3f}x"
    return f"{value:.2f}x" if abs(value) < 10 else f"{value:.1f}x"


def count(value: float) -> str:
    """Returns a number with thousands separators."""
    return f"{value:,.0f}"
