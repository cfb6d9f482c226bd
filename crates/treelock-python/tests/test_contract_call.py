"""Points 1 to 6 of the contract: the import, the call, and what may be passed to it."""

from __future__ import annotations

import collections
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import treelock
from treelock import TreeLock

from conftest import (
    can_have,
    given,
    nothing_is_left,
)
from nodes import A_B, ROOT, A, B, C, Name

# ------------------------------------------------------------------------------------------ 1


def test_01_what_is_imported_is_this_package() -> None:
    """If the seed were imported instead, all other tests would test the seed."""
    assert treelock.__file__ is not None
    assert os.path.basename(treelock.__file__) == "__init__.py", "that is the seed: a single module"
    assert issubclass(treelock.LockTimeout, TimeoutError)


def test_01_all_names_what_there_is() -> None:
    """A star import gives the lock and nothing that does not exist."""
    names: dict[str, Any] = {}
    exec("from treelock import *", names)  # noqa: S102
    assert "TreeLock" in treelock.__all__
    assert set(treelock.__all__) <= set(names)
    assert names["TreeLock"] is TreeLock


def test_01_a_lock_takes_no_argument() -> None:
    """A lock needs nothing to be created, not even an event loop."""
    assert isinstance(TreeLock(), TreeLock)


@pytest.mark.parametrize("wrong", [(1,), ("/a",), (None,), (True,)])
def test_01_a_lock_refuses_arguments(wrong: tuple[Any, ...]) -> None:
    """It refuses what it would ignore, although subclasses may have their own arguments."""
    with pytest.raises(TypeError):
        TreeLock(*wrong)


def test_01_a_lock_refuses_unknown_keywords() -> None:
    """A misspelt keyword is an error."""
    with pytest.raises(TypeError, match="string"):
        TreeLock(string=True)  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------------ 2

WAYS_TO_CALL: dict[str, Callable[[TreeLock, Any, Any], Any]] = {
    "positional": lambda lock, read, write: lock(read, write),
    "keyword": lambda lock, read, write: lock(read=read, write=write),
    "swapped": lambda lock, read, write: lock(write=write, read=read),
    "mixed": lambda lock, read, write: lock(read, write=write),
}


@pytest.mark.parametrize("call", WAYS_TO_CALL.values(), ids=WAYS_TO_CALL)
def test_02_read_comes_before_write(call: Callable[[TreeLock, Any, Any], Any]) -> None:
    """However the two are given, the first is shared and the second is exclusive."""
    lock = TreeLock()
    with call(lock, [A], [B]):
        assert can_have(lock, read=[A])
        assert not can_have(lock, write=[A])
        assert not can_have(lock, read=[B])
    nothing_is_left(lock)


def test_02_both_may_be_left_out() -> None:
    """An omitted argument is empty."""
    lock = TreeLock()
    with lock([A]):
        assert can_have(lock, read=[A]) and not can_have(lock, write=[A])
    with lock(write=[A]):
        assert not can_have(lock, read=[A])
    with lock():
        assert can_have(lock, write=[ROOT])


# ------------------------------------------------------------------------------------------ 3


class Watched:
    """An iterable that reports every use of it."""

    def __init__(self) -> None:
        self.uses: list[str] = []

    def __iter__(self) -> Iterator[Any]:
        self.uses.append("iter")
        return iter(())

    def __len__(self) -> int:
        self.uses.append("len")
        return 0

    def __getitem__(self, index: int) -> Any:
        self.uses.append("getitem")
        raise IndexError

    def __repr__(self) -> str:
        self.uses.append("repr")
        return "Watched()"

    def __hash__(self) -> int:
        self.uses.append("hash")
        return 1

    def __float__(self) -> float:
        self.uses.append("float")
        return 1.0

    def __str__(self) -> str:
        self.uses.append("str")
        return ""


def test_03_the_call_looks_at_nothing() -> None:
    """Calling the lock runs no code of its arguments; entering does."""
    lock = TreeLock()
    watched = Watched()
    lock(watched, watched, timeout=watched, label=watched)  # type: ignore[arg-type]
    assert watched.uses == []
    with lock(watched):
        assert "iter" in watched.uses


def test_03_the_call_starts_no_generator() -> None:
    """A generator is started by the first enter."""
    begun: list[int] = []

    def roots() -> Iterator[PurePosixPath]:
        begun.append(1)
        yield A

    manager = TreeLock()(write=roots())
    assert not begun
    with manager:
        assert begun


BAD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "read is None": {"read": None},
    "write is None": {"write": None},
    "read is a number": {"read": 5},
    "a root is None": {"write": [None]},
    "write is a string": {"write": "ab"},
    "a root is no node": {"read": [object()]},
    "a root is a list": {"write": [[]]},
    "timeout is a string": {"write": [A], "timeout": "soon"},
    "timeout is negative": {"write": [A], "timeout": -1},
    "timeout is no number": {"write": [A], "timeout": math.nan},
    "label is a number": {"write": [A], "label": 5},
}

each_bad_argument = pytest.mark.parametrize("bad", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
WRONG = (TypeError, AttributeError, ValueError)


@each_bad_argument
def test_03_bad_arguments_raise_from_entering(bad: dict[str, Any]) -> None:
    """The call accepts them; the enter raises, and so does the next one."""
    lock = TreeLock()
    manager = given(lock, bad)
    for _ in range(2):
        with pytest.raises(WRONG), manager:
            pytest.fail("entered")
        with pytest.raises(WRONG):
            manager.acquire()
    nothing_is_left(lock)


@each_bad_argument
async def test_03_bad_arguments_raise_from_the_first_step(bad: dict[str, Any]) -> None:
    """Not even ``__aenter__`` examines them: what it returns does, when it is awaited."""
    lock = TreeLock()
    manager = given(lock, bad)
    for _ in range(2):
        entering = manager.__aenter__()
        with pytest.raises(WRONG):
            await entering
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 4


class OldSequence:
    """Iterable by its indices alone, as before iterators existed."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


ITERABLES: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "generator": lambda nodes: (node for node in nodes),
    "iterator": iter,
    "map": lambda nodes: map(PurePosixPath, nodes),
    "dict": dict.fromkeys,
    "dict keys": lambda nodes: dict.fromkeys(nodes).keys(),
    "dict values": lambda nodes: dict(enumerate(nodes)).values(),
    "chain": lambda nodes: itertools.chain(nodes, nodes),
    "old sequence": lambda nodes: OldSequence(*nodes),
}


@pytest.mark.parametrize("make", ITERABLES.values(), ids=ITERABLES)
def test_04_roots_may_be_any_iterable(make: Callable[[list[Any]], Any]) -> None:
    """All roots of all iterables are locked, with their ancestors."""
    lock = TreeLock()
    read, write = [A_B, B], [C / "d", C / "e"]
    with lock(make(read), make(write)):
        for held in read:
            assert can_have(lock, read=[held]) and not can_have(lock, write=[held])
            assert not can_have(lock, write=[held.parent])
        for held in write:
            assert not can_have(lock, read=[held])
            assert not can_have(lock, read=[held.parent])
        assert can_have(lock, write=[A / "c", C / "f"])
    nothing_is_left(lock)


class AsIterable(PurePosixPath):
    """A path that returns its ancestors as it is told to."""

    make: Callable[[list[Any]], Any] = list
    readings = 0

    @property
    def parents(self) -> Any:
        type(self).readings += 1
        return type(self).make(list(PurePosixPath(self).parents))


@pytest.mark.parametrize("make", ITERABLES.values(), ids=ITERABLES)
def test_04_parents_may_be_any_iterable(make: Callable[[list[Any]], Any]) -> None:
    """So may a node's ancestors, including one-shot iterators."""

    class Node(AsIterable):
        pass

    Node.make = make
    lock = TreeLock()
    with lock(write=[Node("/a/b/c")]):
        for above in PurePosixPath("/a/b/c").parents:
            assert not can_have(lock, read=[above])
        assert can_have(lock, write=[PurePosixPath("/a/b/d")])
    nothing_is_left(lock)


def test_04_parents_are_read_once_per_enter() -> None:
    """Each enter asks a node for its ancestors exactly once; exits and waits do not ask."""
    lock = TreeLock()
    node = Name("a", "b")
    manager = lock(write=[node])
    for times in range(1, 4):
        with manager:
            assert node.readings == times
            assert not can_have(lock, write=[Name("a")])
            assert node.readings == times
    assert node.readings == 3


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_04_ancestors_come_in_any_order(order: tuple[int, ...]) -> None:
    """The order of the ancestors has no meaning, and nodes are never compared by '<'."""

    class Shuffled(Name):
        @property
        def parents(self) -> Iterator[tuple[str, ...]]:
            return (self.parts[:length] for length in order)

        def __lt__(self, other: object) -> bool:
            pytest.fail("nodes have no order")

        __gt__ = __le__ = __ge__ = __lt__

    lock = TreeLock()
    with lock(write=[Shuffled("a", "b", "c", "d")]):
        for length in range(5):
            assert not can_have(lock, read=[Name(*"abcd"[:length])])
        assert can_have(lock, write=[Name("a", "b", "c", "e")])


# ------------------------------------------------------------------------------------------ 5


@pytest.mark.parametrize("roots", [["/a"], ["a", "b"], [A, "/b"], ("",), {"x"}, iter(["/a"])])
def test_05_a_string_is_no_root(roots: Iterable[Any]) -> None:
    """It is a TypeError, and also what the seed raised, an AttributeError."""
    lock = TreeLock()
    with pytest.raises(treelock.NodeTypeError) as caught, lock(write=roots):
        pytest.fail("entered")
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, AttributeError)
    nothing_is_left(lock)


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("text", ["ab", "/a", "a", "/", ""])
def test_05_a_bare_string_does_not_become_its_characters(argument: str, text: str) -> None:
    """Forgotten brackets are reported, and do not lock one node per character."""
    lock = TreeLock()
    with pytest.raises(treelock.NodeTypeError), given(lock, {argument: text}):
        pytest.fail("entered")
    nothing_is_left(lock)


async def test_05_a_string_is_no_root_in_an_event_loop() -> None:
    """``async with`` says the same."""
    lock = TreeLock()
    with pytest.raises(treelock.NodeTypeError):
        async with lock(write=["/a"]):
            pytest.fail("entered")
    with pytest.raises(treelock.NodeTypeError):
        async with lock(write="/a"):
            pytest.fail("entered")
    nothing_is_left(lock)


def test_05_strings_are_opt_in() -> None:
    """A lock that is told to accept strings accepts them."""
    lock = TreeLock(strings=True)
    with lock(write=["/a"]):
        assert not can_have(lock, read=["/a/b"])
        assert can_have(lock, write=["/b"])


# ------------------------------------------------------------------------------------------ 6


class Unhashable:
    """A node that has ancestors but no hash."""

    __hash__ = None  # type: ignore[assignment]
    parents = (ROOT,)


class UnhashableAncestor:
    """A node with an ancestor that has no hash."""

    parents = (Unhashable(),)


@pytest.mark.parametrize("node", [Unhashable(), UnhashableAncestor()])
def test_06_a_node_without_hash_is_a_type_error(node: Any) -> None:
    """As for the key of a dict."""
    lock = TreeLock()
    for request in (lock(write=[node]), lock(read=[node]), lock(write=[A, node])):
        with pytest.raises(TypeError), request:
            pytest.fail("entered")
        nothing_is_left(lock)


@pytest.mark.parametrize("node", [object(), None, 5, b"/a", (), A.as_posix])
def test_06_a_node_without_parents_is_an_attribute_error(node: Any) -> None:
    """As for any missing attribute."""
    lock = TreeLock()
    for request in (lock(write=[node]), lock(read=[node]), lock(write=[A, node])):
        with pytest.raises(AttributeError), request:
            pytest.fail("entered")
        nothing_is_left(lock)


def test_06_bytes_are_not_a_list_of_nodes() -> None:
    """Their items are numbers, which have no ancestors."""
    lock = TreeLock()
    with pytest.raises((TypeError, AttributeError)), lock(write=b"ab"):  # type: ignore[arg-type]
        pytest.fail("entered")
    nothing_is_left(lock)


def test_06_parents_must_be_iterable() -> None:
    """A node whose ancestors cannot be listed is a TypeError."""

    class Node:
        parents = 5

    lock = TreeLock()
    with pytest.raises(TypeError), lock(write=[Node()]):  # type: ignore[list-item]
        pytest.fail("entered")
    nothing_is_left(lock)
