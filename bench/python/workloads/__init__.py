"""The workloads, by the name that ``--only`` takes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from measure import Bench
from report import Report
from workloads import cancel, handoff, held, mixed, nodes, pairs

WORKLOADS: dict[str, Callable[[Bench, Report, ModuleType], None]] = {
    "pairs": pairs.run,
    "nodes": nodes.run,
    "handoff": handoff.run,
    "mixed": mixed.run,
    "held": held.run,
    "cancel": cancel.run,
}
