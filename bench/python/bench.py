#!/usr/bin/env python3
"""Compares the Python package with the original, with asyncio.Lock and with aiorwlock.

Everything runs in one process; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

try:
    import aiorwlock  # noqa: F401
    import tqdm  # noqa: F401
    import treelock
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; bench/python/README.md says how to install what is needed")

from measure import Bench
from peers import load_seed
from report import Report
from workloads import WORKLOADS

SEED = "treelock==0.0.17 fifolock==0.0.20"

EPILOG = f"""\
before the first run:
  python -m venv .venv && . .venv/bin/activate
  pip install ./crates/treelock-python -r bench/python/requirements.txt
  pip install --no-deps --target /tmp/seed {SEED}

examples:
  python bench/python/bench.py --seed /tmp/seed --quick
  python bench/python/bench.py --seed /tmp/seed --only pairs --only mixed --json numbers.json
"""


def main() -> None:
    arguments = parse()
    names = [name for name in WORKLOADS if name in (arguments.only or WORKLOADS)]
    report = Report()
    seed = load_seed(arguments.seed)
    environment = surroundings(arguments)
    bench = Bench(
        quick=arguments.quick,
        rounds=arguments.rounds,
        collect=not arguments.no_gc,
        workloads=len(names),
    )
    bench.print(f"{', '.join(f'{name} {value}' for name, value in environment.items())}\n")
    try:
        for finished, name in enumerate(names, 1):
            WORKLOADS[name](bench, report, seed)
            bench.finished(finished)
    finally:
        bench.close()
    if report.goals:
        print(report.goal_table())
    if arguments.json:
        numbers = {"environment": environment, **report.json()}
        arguments.json.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compares treelock with the original (the seed), asyncio.Lock and aiorwlock, "
        "in one\nprocess and in turns. Prints Markdown: a table per comparison, then the goals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "the directory of the original: treelock.py and fifolock.py; never on the module path"
    add("--seed", metavar="DIR", type=Path, required=True, help=text)
    text = f"run only this workload; may be repeated: {', '.join(WORKLOADS)}"
    add("--only", metavar="NAME", action="append", choices=[*WORKLOADS], help=text)
    text = "a quick look: fewer rounds, shorter slices, smaller crowds; do not quote its numbers"
    add("--quick", action="store_true", help=text)
    text = "how often the contenders take turns (25; with --quick 7); slow workloads use a third"
    add("--rounds", metavar="N", type=positive, help=text)
    text = "disable the garbage collector while measuring; it runs by default, as in a program"
    add("--no-gc", action="store_true", help=text)
    add("--json", metavar="FILE", type=Path, help="write all samples and the goals to this file")
    arguments = parser.parse_args()
    check(parser, arguments.seed)
    return arguments


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round is needed")
    return number


def check(parser: argparse.ArgumentParser, seed: Path) -> None:
    """Ends with a message if the seed is missing, or if it takes the place of the package."""
    for file in ("treelock.py", "fifolock.py"):
        if not (seed / file).is_file():
            parser.error(f"no {file} in {seed}: pip install --no-deps --target {seed} {SEED}")
    if not hasattr(treelock, "__version__"):
        parser.error(
            f"`import treelock` finds the seed itself, {treelock.__file__}: remove it from this "
            "environment (pip uninstall treelock) and pip install ./crates/treelock-python"
        )


def surroundings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the environment in which the numbers were measured."""
    return {
        platform.python_implementation(): platform.python_version(),
        "treelock": treelock.__version__,
        "aiorwlock": version("aiorwlock"),
        "processors": os.cpu_count(),
        "platform": platform.platform(terse=True),
        "garbage collector": "off" if arguments.no_gc else "on",
        "mode": "quick" if arguments.quick else "full",
    }


if __name__ == "__main__":
    main()
