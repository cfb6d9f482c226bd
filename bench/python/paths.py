"""The objects that are locked: paths, nodes, and the operations of a file server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

FAN_OUT = 16


class Node:
    """A node as users write one, in plain Python. Only the seed needs the order."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.parts = parts

    @property
    def parents(self) -> list[Node]:
        return [Node(self.parts[:length]) for length in reversed(range(len(self.parts)))]

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        return self.parts == other.parts if isinstance(other, Node) else NotImplemented

    def __lt__(self, other: Node) -> bool:
        return self.parts < other.parts


def siblings(depth: int) -> list[str]:
    """Returns eight paths with components of five bytes: ``/dir00/dir01/dir02/leaf7``."""
    directory = "".join(f"/dir{level:02}" for level in range(depth - 1))
    return [f"{directory}/leaf{index}" for index in range(8)]


def elsewhere(count: int) -> Iterator[str]:
    """Generates paths at depth 4 that are not among the siblings, up to 64 in a directory."""
    for index in range(count):
        yield f"/held{index % 16:02}/dir{index // 1024:02}/dir{index // 16 % 64:02}/leaf{index}"


class Operation(NamedTuple):
    """The paths that one operation of a file server locks."""

    reads: list[str]
    writes: list[str]


def operations(count: int) -> list[Operation]:
    """Returns operations on files at depth 4, popular by Zipf's law at each level.

    70 % read a file, 20 % write one, 5 % rename (write two), 5 % copy (read one, write one). The
    operations are the same each time.
    """
    generator = random.Random(7)
    weights = [1 / rank for rank in range(1, FAN_OUT + 1)]

    def file() -> str:
        names = generator.choices(range(FAN_OUT), weights, k=4)
        return "".join(f"/dir{name:02}" for name in names)

    def operation() -> Operation:
        path = other = file()
        while other == path:
            other = file()
        kind = generator.random()
        if kind < 0.70:
            return Operation([path], [])
        if kind < 0.90:
            return Operation([], [path])
        return Operation([], [path, other]) if kind < 0.95 else Operation([path], [other])

    return [operation() for _ in range(count)]
