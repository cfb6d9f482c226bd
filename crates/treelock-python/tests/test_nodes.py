"""What can be a node: anything with a hash, an equality and ancestors, whatever its type."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import can_have, hold, nothing_is_left, settle, visit
from nodes import Colliding, Node, Place, overlap

# ----------------------------------------------------------------------------- types of nodes


class Shuffled(Node):
    """The ancestors come in an order that always changes."""

    @property
    def parents(self) -> Any:
        above = self.above()
        random.Random(len(above)).shuffle(above)
        return above


class Generated(Node):
    """The ancestors come from a generator, which is one more object with its own lifetime."""

    @property
    def parents(self) -> Any:
        yield from self.above()


class OneShot(Node):
    """The ancestors come from one iterator that is kept: reading it twice would find it empty."""

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self._parents = iter(self.above())

    @property
    def parents(self) -> Any:
        return self._parents


class Attribute(Node):
    """The ancestors are a plain attribute."""

    parents = ()

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.parents = frozenset(self.above())  # type: ignore[assignment]


class Dynamic(Node):
    """The ancestors come from ``__getattribute__``, as in a proxy."""

    def __getattribute__(self, name: str) -> Any:
        if name == "parents":
            return self.above()
        return super().__getattribute__(name)


class Slotted:
    """It has no ``__dict__``, no weak references, and equals only objects of its class."""

    __slots__ = ("parts",)

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        return hash(("slotted", self.parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and self.parts == other.parts

    @property
    def parents(self) -> Any:
        return [Slotted(*self.parts[:length]) for length in range(len(self.parts))]


class Repeating(Node):
    """Each ancestor comes several times, and the node itself is among them."""

    @property
    def parents(self) -> Any:
        return [*self.above(), *self.above(), Place(*self.parts), self]


class TupleNode(tuple):  # type: ignore[type-arg]
    """A node that is a tuple; its ancestors are plain tuples, which equal nodes of this class."""

    @property
    def parents(self) -> Any:
        return (self[:length] for length in range(len(self)))


class TextNode(str):
    """A node that is a string, but not a bare string: it knows its ancestors."""

    @property
    def parents(self) -> Any:
        parts = self.split("/") if self else []
        return ["/".join(parts[:length]) for length in range(len(parts))]


def tuple_node(*parts: str) -> TupleNode:
    return TupleNode(parts)


def text_node(*parts: str) -> TextNode:
    return TextNode("/".join(parts))


def windows_node(*parts: str) -> PureWindowsPath:
    return PureWindowsPath("C:/", *parts)


def posix_node(*parts: str) -> PurePosixPath:
    return PurePosixPath("/", *parts)


MAKE: list[Callable[..., Any]] = [
    Node,
    Shuffled,
    Generated,
    OneShot,
    Attribute,
    Dynamic,
    Slotted,
    Colliding,
    Repeating,
    tuple_node,
    text_node,
    windows_node,
    posix_node,
]


each_kind = pytest.mark.parametrize("make", MAKE)

# ---------------------------------------------------------------------------------- conflicts


SOME = [parts for length in range(4) for parts in itertools.product("xy", repeat=length)]


@each_kind
def test_nodes_of_one_kind(make: Callable[..., Any]) -> None:
    """Two nodes conflict iff one is the other or above it, whichever was there first."""
    lock = TreeLock()
    for one, other in itertools.product(SOME, repeat=2):
        shorter = min(len(one), len(other))
        expected = one[:shorter] == other[:shorter]
        with lock(write=[make(*one)]):
            assert can_have(lock, write=[make(*other)]) is not expected, (one, other)
            assert can_have(lock, read=[make(*other)]) is not expected
        with lock(read=[make(*one)]):
            assert can_have(lock, write=[make(*other)]) is not expected
            assert can_have(lock, read=[make(*other)])
    nothing_is_left(lock)


@each_kind
async def test_nodes_of_one_kind_wait_and_wake(make: Callable[..., Any]) -> None:
    """Requests for nodes above, below and at the same place also wait."""
    lock = TreeLock()
    holder = await hold(lock(write=[make("x", "y")]))
    waiters = [await visit(lock(read=[make(*parts)])) for parts in ((), "x", "xy", "xyz")]
    assert not any(waiter.inside for waiter in waiters)
    beside = await hold(lock(read=[make("y")]))
    await beside.leave()
    await holder.leave()
    await settle()
    for waiter in waiters:
        assert waiter.inside
        await waiter.leave()
    nothing_is_left(lock)


@each_kind
def test_many_roots_in_one_request(make: Callable[..., Any]) -> None:
    """A request with all of the nodes, twice, and in both roles, is one request."""
    lock = TreeLock()
    below = [parts for parts in SOME if len(parts) == 3]
    with lock(
        read=[make(*parts) for parts in below * 2],
        write=[make(*parts) for parts in below[1:] * 2],
    ):
        assert can_have(lock, read=[make(*below[0])])
        assert not can_have(lock, write=[make(*below[0])])
        assert not can_have(lock, read=[make(*below[1])])
        assert not can_have(lock, read=[make("x")])
        assert can_have(lock, write=[make("z")])
    nothing_is_left(lock)


@pytest.mark.parametrize("seed", range(5))
def test_random_requests_of_all_kinds(seed: int) -> None:
    """Any two requests with nodes of all kinds conflict iff some pair of their nodes does."""
    chance = random.Random(seed)
    lock = TreeLock()
    makers = [make for make in MAKE if make is not OneShot]

    def request() -> tuple[list[Any], list[Any]]:
        roots = [chance.choice(makers)(*chance.choice(SOME)) for _ in range(chance.randint(0, 6))]
        writes = chance.randint(0, len(roots))
        return roots[writes:], roots[:writes]

    outcomes = set()
    for _ in range(300):
        one, other = request(), request()
        pairs = [
            *itertools.product(one[1], other[0] + other[1]),
            *itertools.product(one[0], other[1]),
        ]
        expected = any(overlap(*pair) for pair in pairs)
        with lock(*one):
            assert can_have(lock, *other) is not expected, (one, other)
        outcomes.add(expected)
    assert outcomes == {True, False}, "the test tests something"
    nothing_is_left(lock)


# ----------------------------------------------------------------------------- once per enter


class Asked(Node):
    """A node that counts how often it is asked for its ancestors."""

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.times = 0

    @property
    def parents(self) -> Any:
        self.times += 1
        return iter(self.above())


async def test_each_root_is_asked_once_per_enter() -> None:
    """However long it waits, whatever else comes, and however it ends."""
    lock = TreeLock()
    roots = [Asked("x"), Asked("x", "y")]
    holder = await hold(lock(write=[roots[0]]))
    manager = lock(read=[roots[1]])
    waiter = await visit(manager)
    behind = await visit(lock(write=[Node()]))
    assert [root.times for root in roots] == [1, 1]
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    await behind.leave()
    assert [root.times for root in roots] == [1, 1]
    with manager:
        assert [root.times for root in roots] == [1, 2]
    nothing_is_left(lock)


def test_ancestors_are_not_asked_for_theirs() -> None:
    """A place above a root is just a place, even if it has ``parents``."""

    class Above(Place):
        @property
        def parents(self) -> Any:
            pytest.fail("only roots are asked")

    class Root(Place):
        @property
        def parents(self) -> Any:
            return [Above(), Above("x")]

    lock = TreeLock()
    with lock(write=[Root("x", "y")]):
        assert not can_have(lock, write=[Node("x")])
    nothing_is_left(lock)
