"""Nodes that several test files lock: some paths, and classes in pure Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

ROOT = PurePosixPath("/")
A = PurePosixPath("/a")
A_B = PurePosixPath("/a/b")
B = PurePosixPath("/b")
C = PurePosixPath("/c")
PHOTOS = PurePosixPath("/photos")
YEAR = PurePosixPath("/photos/2025")
TEMPLATES = PurePosixPath("/templates")


class Name:
    """A node in pure Python, equal by its parts; its ancestors are plain tuples."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts
        self.readings = 0

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        return self.parts == (other.parts if isinstance(other, Name) else other)

    @property
    def parents(self) -> Iterator[tuple[str, ...]]:
        self.readings += 1
        return (self.parts[:length] for length in range(len(self.parts)))


class Place:
    """An ancestor: it has a hash and an equality, but no ancestors of its own."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.parts == other.parts


class Node(Place):
    """A root: its ancestors are places, which have no ancestors themselves."""

    def above(self) -> list[Place]:
        """Returns new objects each time, so that only their equality identifies them."""
        return [Place(*self.parts[:length]) for length in range(len(self.parts))]

    @property
    def parents(self) -> Any:
        return tuple(self.above())


class Colliding(Node):
    """All nodes have the same hash, so that only ``==`` tells them apart."""

    def above(self) -> list[Place]:
        return [Colliding(*self.parts[:length]) for length in range(len(self.parts))]

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.parts == other.parts


class Colour:
    """A node that is not a path and has no text of its own."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def parents(self) -> list[Colour]:
        return [Colour(*self.names[:depth]) for depth in range(len(self.names))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colour) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


class Shy:
    """A node that cannot be printed."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    @property
    def parents(self) -> tuple[Any, ...]:
        return ()


def overlap(one: Any, other: Any) -> bool:
    """The rule itself: nodes are identified as in a set or dict, by ``hash`` and ``==``."""
    return one in {other, *other.parents} or other in {one, *one.parents}
