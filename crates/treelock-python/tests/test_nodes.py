"""What can be a node: anything with a hash, an equality and ancestors, however they behave.

The code of a node is foreign code in the middle of the lock's own work. It may raise at any of its
calls, enter the lock again, or let another thread run.
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
import treelock
from conftest import can_have, enter_now, exit_now, hold, nothing_is_left, settle, visit
from treelock import TreeLock

# ---------------------------------------------------------------------- types of nodes


class Place:
    """An ancestor: it has a hash and an equality, and no ancestors of its own to ask for."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.parts == other.parts


class Node(Place):
    """A root: its ancestors are places, without ancestors themselves."""

    def above(self) -> list[Place]:
        """Returns new objects each time, so that only their equality can tell."""
        return [Place(*self.parts[:length]) for length in range(len(self.parts))]

    @property
    def parents(self) -> Any:
        return tuple(self.above())


class Shuffled(Node):
    """The ancestors in an order that is never the same."""

    @property
    def parents(self) -> Any:
        above = self.above()
        random.Random(len(above)).shuffle(above)
        return above


class Generated(Node):
    """The ancestors from a generator, which is one more object with a life of its own."""

    @property
    def parents(self) -> Any:
        yield from self.above()


class OneShot(Node):
    """The ancestors from one iterator that is kept: reading it twice would find it empty."""

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self._parents = iter(self.above())

    @property
    def parents(self) -> Any:
        return self._parents


class Attribute(Node):
    """The ancestors as a plain attribute."""

    parents = ()

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.parents = frozenset(self.above())  # type: ignore[assignment]


class Dynamic(Node):
    """The ancestors by ``__getattr__``, as a proxy has them."""

    def __getattribute__(self, name: str) -> Any:
        if name == "parents":
            return self.above()
        return super().__getattribute__(name)


class Slotted:
    """No ``__dict__``, no weak references, and equal to nothing that is not of its class."""

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


class Colliding(Node):
    """All nodes have the same hash, so that only ``==`` tells them apart."""

    def above(self) -> list[Place]:
        return [Colliding(*self.parts[:length]) for length in range(len(self.parts))]

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.parts == other.parts


class Repeating(Node):
    """Each ancestor several times, and the node itself among them."""

    @property
    def parents(self) -> Any:
        return [*self.above(), *self.above(), Place(*self.parts), self]


class TupleNode(tuple):  # type: ignore[type-arg]
    """A node that is a tuple; its ancestors are plain tuples, equal to nodes of this class."""

    @property
    def parents(self) -> Any:
        return (self[:length] for length in range(len(self)))


class TextNode(str):
    """A node that is a string, which is not a bare string: it knows its ancestors."""

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

# ---------------------------------------------------------------------- conflicts

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
    """They are waited for as well, by who is above, below and the same."""
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


def overlap(one: Any, other: Any) -> bool:
    """The rule itself: nodes are what they are to a set or dict, by ``hash`` and ``==``."""
    return one in {other, *other.parents} or other in {one, *one.parents}


# ---------------------------------------------------------------------- equal across types


class LikePath:
    """No path, but equal to one, with the same hash."""

    def __init__(self, text: str) -> None:
        self.path = PurePosixPath(text)

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return self.path == (other.path if isinstance(other, LikePath) else other)

    @property
    def parents(self) -> Any:
        return [LikePath(str(path)) for path in self.path.parents]


class LikePathBelowPaths(LikePath):
    """The same, but its ancestors are paths."""

    @property
    def parents(self) -> Any:
        return self.path.parents


class PlainPath(PurePosixPath):
    """A path of another type."""


class PathWithOwnParents(PurePosixPath):
    """A path that lists its ancestors itself, and is equal to any other path of its text."""

    @property
    def parents(self) -> Iterator[PurePosixPath]:  # type: ignore[override]
        return reversed(PurePosixPath(str(self)).parents)


EQUAL: list[Callable[[str], Any]] = [
    PurePosixPath,
    PlainPath,
    PathWithOwnParents,
    LikePath,
    LikePathBelowPaths,
]


@pytest.mark.parametrize("first", EQUAL)
@pytest.mark.parametrize("second", EQUAL)
def test_equal_nodes_are_one_node_whatever_their_types(first: Any, second: Any) -> None:
    """What is equal and has the same hash is one node, in either order of arrival."""
    lock = TreeLock()
    assert first("/a") == second("/a") and hash(first("/a")) == hash(second("/a"))
    for one, other in (("/a", "/a"), ("/a", "/a/b/c"), ("/a/b/c", "/a"), ("/", "/a"), ("/a", "/")):
        with lock(write=[first(one)]):
            assert not can_have(lock, read=[second(other)]), (one, other)
        with lock(read=[first(one)]):
            assert can_have(lock, read=[second(other)])
            assert not can_have(lock, write=[second(other)]), (one, other)
    with lock(write=[first("/a"), first("/b/x")]):
        assert can_have(lock, write=[second("/c"), second("/b/y")])
    nothing_is_left(lock)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_equal_nodes_that_come_and_go(order: tuple[int, ...]) -> None:
    """A node stays the same node as long as anybody holds it, whoever came first and is gone."""
    lock = TreeLock()
    managers = [lock(read=[make("/a/b")]) for make in (PurePosixPath, LikePath, PathWithOwnParents)]
    for manager in managers:
        manager.acquire()
    for number in order:
        for make in EQUAL:
            assert not can_have(lock, write=[make("/a/b")])
            assert not can_have(lock, write=[make("/a")])
            assert not can_have(lock, write=[make("/a/b/c")])
        managers[number].release()
    for make in EQUAL:
        assert can_have(lock, write=[make("/")])
    nothing_is_left(lock)


def test_equal_nodes_in_one_request() -> None:
    """Equal nodes of all types in one request are one root, and do not block each other."""
    lock = TreeLock()
    for text in ("/a", "/a/b", "/"):
        manager = lock(
            read=[make(text) for make in EQUAL], write=[make("/a") for make in reversed(EQUAL)]
        )
        with manager:
            assert not can_have(lock, read=[LikePath("/a")])
            assert not can_have(lock, read=[PurePosixPath("/a/b")])
    nothing_is_left(lock)


def test_ancestors_of_other_types() -> None:
    """What is above may be of any type that has a hash; its ``parents`` are not asked for."""

    class Leaf:
        parents: Any = (("a", "tuple"), "text", 5, None, PurePosixPath("/a"), frozenset())

    class Above:
        """A root that equals one of the ancestors above."""

        parents = ()

        def __init__(self, like: Any) -> None:
            self.like = like

        def __hash__(self) -> int:
            return hash(self.like)

        def __eq__(self, other: object) -> bool:
            return bool(self.like == (other.like if isinstance(other, Above) else other))

    lock = TreeLock()
    with lock(write=[Leaf()]):
        for ancestor in Leaf.parents:
            assert not can_have(lock, read=[Above(ancestor)]), ancestor
        assert not can_have(lock, read=[PurePosixPath("/a")])
        assert can_have(lock, write=[Above("other"), PurePosixPath("/a/b"), Leaf()])
    nothing_is_left(lock)


def test_the_number_one_is_also_true() -> None:
    """Python's own idea of equality counts, also where it surprises."""

    class Leaf:
        def __init__(self, *above: Any) -> None:
            self.parents = above

    class Above(int):
        parents = ()

    lock = TreeLock()
    with lock(write=[Leaf(True, "x")]):
        assert not can_have(lock, read=[Above(1)])
        assert can_have(lock, write=[Above(2)])
        assert can_have(lock, write=[Leaf(1.0)])
    nothing_is_left(lock)


def test_nodes_that_are_equal_only_to_themselves() -> None:
    """Objects without an equality of their own are nodes by identity."""

    class Thing:
        def __init__(self, *above: Any) -> None:
            self.parents = above

    lock = TreeLock()
    top = Thing()
    middle = Thing(top)
    leaves = [Thing(middle, top), Thing(top, middle)]
    with lock(write=[leaves[0]]):
        assert can_have(lock, write=[leaves[1], Thing(), Thing(Thing())])
        assert not can_have(lock, read=[middle])
        assert not can_have(lock, read=[top])
    nothing_is_left(lock)


def test_nodes_that_are_not_equal_to_themselves() -> None:
    """As in a dict, the very same object is the same node, whatever its ``==`` says."""

    class Odd:
        parents = ()

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return False

    lock = TreeLock()
    odd = Odd()
    with lock(write=[odd]):
        assert not can_have(lock, read=[odd])
        assert can_have(lock, read=[Odd()])
    nothing_is_left(lock)


def test_many_colliding_nodes_come_and_go() -> None:
    """Nodes that all have one hash are found among each other, also after some have gone."""
    lock = TreeLock()
    managers = [lock(write=[Colliding("a", str(number))]) for number in range(60)]
    for manager in managers:
        manager.acquire()
    order = list(range(60))
    random.Random(1).shuffle(order)
    for position, number in enumerate(order):
        managers[number].release()
        assert can_have(lock, write=[Colliding("a", str(number))])
        for still in order[position + 1 :][:3]:
            assert not can_have(lock, read=[Colliding("a", str(still))])
    assert can_have(lock, write=[Colliding()])
    nothing_is_left(lock)


@pytest.mark.parametrize("text", ["c:/Users/ADA", "C:\\users\\ada\\x", "c:/users"])
def test_windows_paths(text: str) -> None:
    """They are nodes on every system, and their case and slashes do not matter."""
    lock = TreeLock()
    with lock(write=[PureWindowsPath("C:/Users/Ada")]):
        assert not can_have(lock, read=[PureWindowsPath(text)])
        assert can_have(lock, write=[PureWindowsPath("C:/Users/Eve"), PureWindowsPath("D:/")])
    nothing_is_left(lock)


# ---------------------------------------------------------------------- once per enter


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
    """However long it waits, who else comes, and however it ends."""
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


def test_a_node_whose_ancestors_change() -> None:
    """A node that has moved is held, and released, where it was when it was entered."""

    class Movable(Place):
        parents: Any = ()

    lock = TreeLock()
    node = Movable("leaf")
    node.parents = [Place("old")]
    with lock(write=[node]):
        node.parents = [Place("new")]
        assert not can_have(lock, write=[Node("old")])
        assert can_have(lock, write=[Node("new")])
    nothing_is_left(lock)
    with lock(write=[node]):
        assert can_have(lock, write=[Node("old")])
        assert not can_have(lock, write=[Node("new")])
    nothing_is_left(lock)


# ---------------------------------------------------------------------- foreign code that raises


class Broken(Exception):
    """What the code of a node raises here."""


class BrokenBase(BaseException):
    """The same, as unexpected as Ctrl-C."""


class Fuse:
    """Counts what a node is asked, and raises at one of its questions, or at all from one on."""

    def __init__(self) -> None:
        self.calls = 0
        self.at: int | None = None
        self.for_good = False
        self.error: type[BaseException] = Broken

    def blow(self, at: int | None, for_good: bool = False) -> None:
        """Makes the call number ``at`` from now raise; all calls from then on, if for good."""
        self.calls, self.at, self.for_good = 0, at, for_good

    def call(self) -> None:
        self.calls += 1
        if self.at is not None and (
            self.calls == self.at or (self.for_good and self.calls >= self.at)
        ):
            raise self.error


class Fragile:
    """A node all of whose code goes through a fuse: its own, and that of its ancestors."""

    def __init__(self, fuse: Fuse, *parts: str) -> None:
        self.fuse = fuse
        self.parts = parts

    def __hash__(self) -> int:
        self.fuse.call()
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        self.fuse.call()
        return isinstance(other, Fragile) and self.parts == other.parts

    @property
    def parents(self) -> Any:
        self.fuse.call()
        return FragileIterable(self.fuse, self.above())

    def above(self) -> list[Fragile]:
        return [type(self)(self.fuse, *self.parts[:length]) for length in range(len(self.parts))]


class FragileColliding(Fragile):
    """The same with one hash for all, so that the nodes are compared a lot."""

    def __hash__(self) -> int:
        self.fuse.call()
        return 3


class FragileIterable:
    """A list whose iterator, and each step of it, go through a fuse."""

    def __init__(self, fuse: Fuse, items: list[Any]) -> None:
        self.fuse = fuse
        self.items = items

    def __iter__(self) -> Any:
        self.fuse.call()
        return FragileIterator(self.fuse, self.items)


class FragileIterator:
    def __init__(self, fuse: Fuse, items: list[Any]) -> None:
        self.fuse = fuse
        self.items = list(items)

    def __iter__(self) -> Any:
        self.fuse.call()
        return self

    def __next__(self) -> Any:
        self.fuse.call()
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


FRAGILE = [Fragile, FragileColliding]
WITH = [lambda manager: manager.__enter__(), enter_now, lambda manager: manager.acquire()]


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("enter", WITH, ids=["with", "async with", "acquire"])
@pytest.mark.parametrize("error", [Broken, BrokenBase])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among others"])
async def test_foreign_code_that_raises_at_its_nth_call(
    kind: type[Fragile], enter: Callable[[Any], Any], error: type[BaseException], others: bool
) -> None:
    """Whichever of its calls raises: the error comes out, nothing is locked, and all goes on."""
    lock = TreeLock()
    fuse = Fuse()
    fuse.error = error

    def request() -> Any:
        return lock(
            read=FragileIterable(fuse, [kind(fuse, "a", "b"), kind(fuse, "c")]),
            write=FragileIterable(fuse, [kind(fuse, "a", "c"), kind(fuse, "a", "c")]),
        )

    neighbour = lock(read=[kind(fuse, "a", "b"), kind(fuse, "z")])
    if others:
        neighbour.acquire()
    before = len(lock.snapshot())
    for at in itertools.count(1):
        manager = request()
        fuse.blow(at)
        try:
            enter(manager)
        except error:
            pass
        else:
            break
        assert len(lock.snapshot()) == before, at
        assert lock.locked() is others and not manager.locked()
        fuse.blow(None)
        assert can_have(lock, read=[kind(fuse, "a", "b")], write=[kind(fuse, "a", "c")])
        with request():  # and the same request succeeds
            assert not can_have(lock, read=[kind(fuse, "a", "c")])
            assert can_have(lock, write=[kind(fuse, "d")])
        assert can_have(lock, write=[kind(fuse, "c")])
    assert fuse.calls < at, "an error was swallowed"
    assert at > 20, "the loop has seen the calls of hash, eq, parents, iter and next"
    fuse.blow(None)
    exit_now(manager)
    if others:
        assert not can_have(lock, write=[kind(fuse, "a", "b")])
        neighbour.release()
    assert can_have(lock, write=[kind(fuse)])
    nothing_is_left(lock)


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("queued", [False, True])
async def test_foreign_code_that_raises_while_others_wait(
    kind: type[Fragile], queued: bool
) -> None:
    """A failed enter disturbs neither who holds nor who waits, and takes no place in line."""
    lock = TreeLock()
    fuse = Fuse()
    holder = await hold(lock(write=[kind(fuse, "a")]))
    waiter = await visit(lock(read=[kind(fuse, "a", "b")])) if queued else None
    for at in itertools.count(1):
        entering = lock(write=[kind(fuse, "a", "b", "c")]).__aenter__()
        fuse.blow(at)
        try:
            entering.send(None)
        except Broken:
            pass
        else:
            break
        finally:
            fuse.blow(None)
        assert len(lock.snapshot()) == 1 + queued
    assert len(lock.snapshot()) == 2 + queued
    entering.close()
    await holder.leave()
    await settle()
    if waiter is not None:
        assert waiter.inside
        await waiter.leave()
    nothing_is_left(lock)


LEAVE = [
    lambda manager: manager.__exit__(None, None, None),
    exit_now,
    lambda manager: manager.release(),
]


@pytest.mark.parametrize("kind", FRAGILE)
@pytest.mark.parametrize("leave", LEAVE, ids=["with", "async with", "release"])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among others"])
async def test_foreign_code_that_raises_at_the_exit(
    kind: type[Fragile], leave: Callable[[Any], Any], others: bool
) -> None:
    """A release needs nothing of the nodes: it does not fail, and frees them all."""
    lock = TreeLock()
    fuse = Fuse()
    neighbours = [lock(read=[kind(fuse, "a", text)]) for text in "xyz"] if others else []
    for neighbour in neighbours:
        neighbour.acquire()
    manager = lock(read=[kind(fuse, "a", "b")], write=[kind(fuse, "a", "c"), kind(fuse, "d")])
    manager.acquire()
    waiter = await visit(lock(write=[kind(fuse, "a", "c"), kind(fuse, "a", "b")]))
    assert not waiter.inside
    fuse.blow(1, for_good=True)
    leave(manager)
    await settle()
    assert waiter.inside
    await waiter.leave()
    for neighbour in neighbours:
        leave(neighbour)
    fuse.blow(None)
    nothing_is_left(lock)
    for text in ("b", "c", "x", "y"):
        assert can_have(lock, write=[kind(fuse, "a", text)])
    assert can_have(lock, write=[kind(fuse)])


@pytest.mark.parametrize("kind", FRAGILE)
async def test_foreign_code_that_raises_when_a_waiter_gives_up(kind: type[Fragile]) -> None:
    """Cancelling needs nothing of the nodes either."""
    lock = TreeLock()
    fuse = Fuse()
    holder = await hold(lock(read=[kind(fuse, "a")]))
    waiter = await visit(lock(write=[kind(fuse, "a", "b")]))
    behind = await visit(lock(read=[kind(fuse, "a", "b")]))
    fuse.blow(1, for_good=True)
    await waiter.cancel()
    await settle()
    assert behind.inside
    await behind.leave()
    await holder.leave()
    fuse.blow(None)
    nothing_is_left(lock)
    assert can_have(lock, write=[kind(fuse)])


async def test_a_node_whose_repr_raises() -> None:
    """What shows the lock may fail because of it, or not; what locks does not."""

    class Unshown(Node):
        def __repr__(self) -> str:
            raise Broken

        __str__ = __repr__

    lock = TreeLock()
    holder = await hold(lock(write=[Unshown("a")]))
    waiter = await visit(lock(write=[Unshown("a")]))
    assert not lock(write=[Unshown("a")]).acquire(blocking=False)
    with pytest.raises((treelock.LockTimeout, Broken)):
        async with lock(write=[Unshown("a", "b")], timeout=0):
            pytest.fail("entered")
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_a_hash_that_changes_while_it_is_held() -> None:
    """A node with another hash than it had is still released, and leaves nothing behind."""

    class Changing:
        parents = ()

        def __init__(self) -> None:
            self.hash = 1

        def __hash__(self) -> int:
            return self.hash

    lock = TreeLock()
    node = Changing()
    for _ in range(3):
        with lock(write=[node]):
            node.hash += 1
        nothing_is_left(lock)
        assert can_have(lock, write=[node])


def test_a_hash_that_is_no_number() -> None:
    """What Python refuses as a hash is refused as a node."""

    class Wrong:
        parents = ()

        def __hash__(self) -> Any:
            return "hash"

    lock = TreeLock()
    with pytest.raises(TypeError), lock(write=[Wrong()]):
        pytest.fail("entered")
    nothing_is_left(lock)


# ---------------------------------------------------------------------- foreign code that locks


class Busy:
    """A node whose code does something at each question, except while it is doing that."""

    act: Callable[[str], None] | None = None

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    @classmethod
    def do(cls, question: str) -> None:
        act, Busy.act = Busy.act, None
        if act is not None:
            try:
                act(question)
            finally:
                Busy.act = act

    def __hash__(self) -> int:
        self.do("hash")
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        self.do("eq")
        return isinstance(other, Busy) and self.parts == other.parts

    @property
    def parents(self) -> Any:
        self.do("parents")
        for length in range(len(self.parts)):
            self.do("next")
            yield type(self)(*self.parts[:length])


class BusyColliding(Busy):
    """The same with one hash for all, so that the nodes are compared a lot."""

    def __hash__(self) -> int:
        self.do("hash")
        return 5


BUSY = [Busy, BusyColliding]


@pytest.fixture(autouse=True)
def _nodes_are_not_busy() -> Iterator[None]:
    yield
    Busy.act = None


def test_foreign_code_that_locks_something_else() -> None:
    """A node may use the lock it is being locked with; what it holds does not matter to it."""
    lock = TreeLock()
    questions: list[str] = []

    def act(question: str) -> None:
        questions.append(question)
        with lock(read=[Busy("other")], write=[Busy("other", question), PurePosixPath("/o")]):
            assert not can_have(lock, write=[Busy("other")])

    with lock(read=[Busy("a", "b")]):
        Busy.act = act
        for _ in range(3):
            with lock(read=[Busy("a", "b")], write=[Busy("a", "c")]):
                Busy.act = None
                assert not can_have(lock, write=[Busy("a", "b")])
                assert not can_have(lock, read=[Busy("a")])
                assert can_have(lock, write=[Busy("other")])
                Busy.act = act
        Busy.act = None
        assert not can_have(lock, write=[Busy("a", "b")])
    assert set(questions) == {"hash", "eq", "parents", "next"}
    nothing_is_left(lock)
    assert can_have(lock, write=[Busy()])


@pytest.mark.parametrize("kind", BUSY)
@pytest.mark.parametrize("write", [False, True])
def test_foreign_code_that_comes_and_goes_with_the_same_nodes(
    kind: type[Busy], write: bool
) -> None:
    """Nodes that are let go while others are being looked at are not let go for these.

    In the middle of an enter another one takes and releases the very same nodes, which were
    unknown to the lock before. The first must end with nodes that later requests find.
    """
    for at in itertools.count():
        lock = TreeLock()
        countdown = iter(range(at, -1, -1))

        def act(question: str, lock: TreeLock = lock, countdown: Iterator[int] = countdown) -> None:
            if next(countdown, None) == 0:
                same = [kind("a", "b", "c")]
                with lock(write=same) if write else lock(read=same):
                    pass

        manager = lock(write=[kind("a", "b", "c"), kind("a", "d")])
        Busy.act = act
        manager.acquire()
        Busy.act = None
        for parts in ("", "a", "ab", "abc", "abcd", "ad"):
            assert not can_have(lock, read=[kind(*parts)]), (at, parts)
        assert can_have(lock, write=[kind("a", "b", "d"), kind("e")])
        manager.release()
        nothing_is_left(lock)
        assert can_have(lock, write=[kind()])
        if next(countdown, None) is not None:
            break
    assert at > 10, "the loop has seen all questions"


@pytest.mark.parametrize("kind", BUSY)
@pytest.mark.parametrize("inner_leaves_first", [False, True])
def test_foreign_code_that_comes_and_stays_with_the_same_ancestors(
    kind: type[Busy], inner_leaves_first: bool
) -> None:
    """Nodes that become known while the same ones are being looked up become known once.

    In the middle of an enter another one comes that shares its ancestors, and stays. Were there
    two of an ancestor, then a request for it would see only one of those who are below.
    """
    for at in itertools.count():
        lock = TreeLock()
        countdown = iter(range(at, -1, -1))
        inner = lock(read=[kind("a", "b", "x")])

        def act(question: str, inner: Any = inner, countdown: Iterator[int] = countdown) -> None:
            if next(countdown, None) == 0:
                inner.acquire()

        outer = lock(write=[kind("a", "d"), kind("a", "b", "c")])
        Busy.act = act
        outer.acquire()
        Busy.act = None
        if not inner.locked():
            outer.release()
            break
        outer_keeps_out(lock, kind)
        inner_keeps_out(lock, kind)
        if inner_leaves_first:
            inner.release()
            outer_keeps_out(lock, kind)
            outer.release()
        else:
            outer.release()
            inner_keeps_out(lock, kind)
            inner.release()
        nothing_is_left(lock)
        assert can_have(lock, write=[kind()])
    assert at > 10, "the loop has seen all questions"


def outer_keeps_out(lock: TreeLock, kind: type[Busy]) -> None:
    """Asserts that /a/d and /a/b/c are written."""
    for parts in ("", "a", "ab", "abc", "abcd", "ad"):
        assert not can_have(lock, read=[kind(*parts)]), parts
    assert can_have(lock, write=[kind("a", "b", "d"), kind("e")])


def inner_keeps_out(lock: TreeLock, kind: type[Busy]) -> None:
    """Asserts that /a/b/x is read."""
    for parts in ("", "a", "ab", "abx", "abxy"):
        assert not can_have(lock, write=[kind(*parts)]), parts
    assert can_have(lock, read=[kind("a", "b", "x")])


async def test_foreign_code_that_takes_the_place_in_between() -> None:
    """What a node's code has taken before its own request could is in that request's way."""
    lock = TreeLock()
    inner = lock(write=[Busy("a")])

    def act(question: str) -> None:
        if not inner.locked():
            inner.acquire()

    outer = lock(write=[Busy("a", "b")])
    entering = outer.__aenter__()
    Busy.act = act
    assert entering.send(None) is not None, "it waits for a future"
    Busy.act = None
    assert not outer.locked() and inner.locked()
    inner.release()
    with pytest.raises(StopIteration):
        entering.send(None)
    assert outer.locked()
    exit_now(outer)
    nothing_is_left(lock)


async def test_foreign_code_that_releases_what_is_in_the_way() -> None:
    """A node's code may release what its own request would wait for."""
    lock = TreeLock()
    first = lock(write=[Busy("a")])
    first.acquire()

    def act(question: str) -> None:
        if first.locked():
            first.release()

    second = lock(write=[Busy("a")])
    Busy.act = act
    enter_now(second)
    Busy.act = None
    assert not can_have(lock, read=[Busy("a")])
    exit_now(second)
    nothing_is_left(lock)


async def test_foreign_code_that_enters_its_own_context_manager() -> None:
    """A generator of roots that enters the context manager it belongs to does not lock less.

    It cannot be read while it runs, so the enter inside raises; the one outside may raise too.
    """
    lock = TreeLock()
    managers: list[Any] = []

    def roots() -> Iterator[Any]:
        yield Node("a")
        with pytest.raises((ValueError, RuntimeError)), managers[0]:
            pytest.fail("entered with the first of its roots")
        yield Node("b")

    managers.append(lock(write=roots()))
    for _ in range(2):
        try:
            managers[0].acquire()
        except Exception:
            pass
        else:
            assert not can_have(lock, read=[Node("a")])
            assert not can_have(lock, read=[Node("b")])
            managers[0].release()
        nothing_is_left(lock)


def test_foreign_code_that_lets_other_threads_run() -> None:
    """Threads that meet in the middle of each other's nodes still exclude each other."""
    lock = TreeLock()
    inside: dict[str, int] = {"a": 0, "b": 0}
    wrong: list[str] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(150):
            text = chance.choice("ab")
            with lock(write=[Busy("x", text, "y"), Busy("x", text)]):
                inside[text] += 1
                if inside[text] != 1:
                    wrong.append(text)
                inside[text] -= 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a thread waits for ever"
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    nothing_is_left(lock)
    assert can_have(lock, write=[Busy()])


# ---------------------------------------------------------------------- strings


def given(lock: TreeLock, arguments: dict[str, Any]) -> Any:
    """Calls a lock with arguments that are chosen by name."""
    return lock(**arguments)


SAME_STRINGS = ["a/b", "/a/b", "a//b/", "//a/b//", "/a///b"]


@pytest.mark.parametrize("one", SAME_STRINGS)
@pytest.mark.parametrize("other", SAME_STRINGS)
def test_strings_are_split_at_slashes(one: str, other: str) -> None:
    """However many slashes there are, it is one node, below the same ancestors."""
    lock = TreeLock(strings=True)
    with lock(write=[one]):
        assert not can_have(lock, read=[other])
        assert not can_have(lock, read=[other + "/c"])
        assert not can_have(lock, read=["a"]) and not can_have(lock, read=["/"])
        assert can_have(lock, write=["a/c", "ab", "a/bc", "b"])
    nothing_is_left(lock)


@pytest.mark.parametrize("below", ["a", "/a/b", "\udc80", "...", "C:\\a", "\x00", " ", "\u00e9/x"])
def test_the_slash_is_the_root_of_all_strings(below: str) -> None:
    """Who has '/' has everything."""
    lock = TreeLock(strings=True)
    with lock(write=["/"]):
        assert not can_have(lock, read=[below])
    with lock(read=[below]):
        assert not can_have(lock, write=["/"])
        assert can_have(lock, read=["/"])
    nothing_is_left(lock)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\udc80", "\udc81"),
        ("a", "A"),
        ("\u00e9", "e\u0301"),
        ("a", "a "),
        ("a.", "a"),
        ("a\\b", "a"),
    ],
)
def test_strings_that_differ_are_different_nodes(one: str, other: str) -> None:
    """Nothing is folded, decomposed, stripped or replaced."""
    lock = TreeLock(strings=True)
    with lock(write=[one]):
        assert can_have(lock, write=[other])
        assert not can_have(lock, read=[one])
    nothing_is_left(lock)


@pytest.mark.parametrize("text", ["a/../b", "..", "/..", "a/.", ".", "./a", "a/./b", "a//../b"])
@pytest.mark.parametrize("argument", ["read", "write"])
def test_strings_with_dots_are_refused(text: str, argument: str) -> None:
    """What a name alone cannot decide is an error that shows the text."""
    lock = TreeLock(strings=True)
    with pytest.raises(ValueError) as caught, given(lock, {argument: ["fine", text]}):
        pytest.fail("entered")
    assert text in str(caught.value)
    nothing_is_left(lock)


@pytest.mark.parametrize("argument", ["read", "write"])
def test_the_empty_string_is_refused(argument: str) -> None:
    """An unset variable does not lock everything."""
    lock = TreeLock(strings=True)
    with pytest.raises(ValueError, match=r"''|\"\"|empty"), given(lock, {argument: ["fine", ""]}):
        pytest.fail("entered")
    nothing_is_left(lock)


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (PurePosixPath("/a"), "PurePosixPath"),
        (PureWindowsPath("a"), "PureWindowsPath"),
        (b"a", "b'a'|bytes"),
        (5, "5|int"),
        (None, "None"),
        (["a"], r"\['a'\]|list"),
    ],
)
def test_what_is_no_string_is_refused_where_strings_are_asked_for(node: Any, named: str) -> None:
    """A lock has strings or other nodes, never both: they would not know of each other."""
    lock = TreeLock(strings=True)
    for roots in ([node], ["a", node]):
        with pytest.raises(TypeError, match=named), lock(write=roots):
            pytest.fail("entered")
        nothing_is_left(lock)


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("text", ["ab", "/", "a/b", "", "."])
def test_a_bare_string_is_no_list_of_strings(argument: str, text: str) -> None:
    """Where strings are nodes, the characters of a string would all be good ones."""
    lock = TreeLock(strings=True)
    with pytest.raises(TypeError, match=argument), given(lock, {argument: text}):
        pytest.fail("entered")
    nothing_is_left(lock)


async def test_strings_in_an_event_loop() -> None:
    """They wait and are waited for, and their errors come from entering."""
    lock = TreeLock(strings=True)
    holder = await hold(lock(write=["a/b"]))
    waiter = await visit(lock(read=(text for text in ["/a//b/c"])))
    assert not waiter.inside
    for wrong in ([""], ["a/.."], [PurePosixPath("a")], "ab"):
        with pytest.raises((ValueError, TypeError)):
            async with lock(write=wrong):
                pytest.fail("entered")
    assert len(lock.snapshot()) == 2
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_a_string_with_a_type_of_its_own() -> None:
    """An enumeration of strings, say, is strings."""

    class Area(str):
        pass

    lock = TreeLock(strings=True)
    with lock(write=[Area("a/b")]):
        assert not can_have(lock, read=["a/b/c"])
        assert not can_have(lock, read=[Area("/a")])
    nothing_is_left(lock)


@pytest.mark.parametrize("strings", [True, False])
def test_strings_are_no_nodes_and_nodes_are_no_strings(strings: bool) -> None:
    """The choice is made per lock."""
    lock = TreeLock(strings=strings)
    right: Any = "a" if strings else PurePath("a")
    wrong: Any = PurePath("a") if strings else "a"
    with lock(write=[right]):
        pass
    with pytest.raises(TypeError), lock(write=[wrong]):
        pytest.fail("entered")
    nothing_is_left(lock)
