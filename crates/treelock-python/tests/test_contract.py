"""What code written for the seed sees, point by point, numbered as in the contract for Python."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import itertools
import math
import os
import pathlib
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
import treelock
from conftest import (
    Visit,
    can_have,
    enter_now,
    exit_now,
    finishes_at_once,
    hold,
    in_thread,
    nothing_is_left,
    run,
    settle,
    visit,
)
from treelock import TreeLock

ROOT = PurePosixPath("/")
A = PurePosixPath("/a")
A_B = PurePosixPath("/a/b")
B = PurePosixPath("/b")
C = PurePosixPath("/c")


class Broken(Exception):
    """What nobody but these tests raises."""


def given(lock: TreeLock, arguments: dict[str, Any]) -> Any:
    """Calls a lock with arguments that are chosen by name."""
    return lock(**arguments)


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


# ------------------------------------------------------------------------------------------ 1


def test_01_what_is_imported_is_this_package() -> None:
    """A seed in the way of the import would make all other tests tests of the seed."""
    assert treelock.__file__ is not None
    assert os.path.basename(treelock.__file__) == "__init__.py", "that is the seed: a single module"
    assert issubclass(treelock.LockTimeout, TimeoutError)


def test_01_all_names_what_there_is() -> None:
    """A star import gives the lock and nothing that is not there."""
    names: dict[str, Any] = {}
    exec("from treelock import *", names)
    assert "TreeLock" in treelock.__all__
    assert set(treelock.__all__) <= set(names)
    assert names["TreeLock"] is TreeLock


def test_01_a_lock_takes_no_argument() -> None:
    """A lock needs nothing to be made, not even an event loop."""
    assert isinstance(TreeLock(), TreeLock)


@pytest.mark.parametrize("wrong", [(1,), ("/a",), (None,), (True,)])
def test_01_a_lock_refuses_arguments(wrong: tuple[Any, ...]) -> None:
    """What it would ignore it refuses, although sub-classes may have arguments of their own."""
    with pytest.raises(TypeError):
        TreeLock(*wrong)


def test_01_a_lock_refuses_unknown_keywords() -> None:
    """A keyword that was misspelt is an error."""
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
    """What is left out is empty."""
    lock = TreeLock()
    with lock([A]):
        assert can_have(lock, read=[A]) and not can_have(lock, write=[A])
    with lock(write=[A]):
        assert not can_have(lock, read=[A])
    with lock():
        assert can_have(lock, write=[ROOT])


# ------------------------------------------------------------------------------------------ 3


class Watched:
    """An iterable that tells of every use of it."""

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
    """A generator is begun by the first enter."""
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
    """Not even ``__aenter__`` looks at them: what it returns does, when it is awaited."""
    lock = TreeLock()
    manager = given(lock, bad)
    for _ in range(2):
        entering = manager.__aenter__()
        with pytest.raises(WRONG):
            await entering
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 4


class OldSequence:
    """Iterable by its indices alone, as before there were iterators."""

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
    """A path that gives its ancestors as it is told to."""

    make: Callable[[list[Any]], Any] = list
    readings = 0

    @property
    def parents(self) -> Any:
        type(self).readings += 1
        return type(self).make(list(PurePosixPath(self).parents))


@pytest.mark.parametrize("make", ITERABLES.values(), ids=ITERABLES)
def test_04_parents_may_be_any_iterable(make: Callable[[list[Any]], Any]) -> None:
    """So may a node's ancestors, one-shot iterators too."""

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
    """Each enter asks a node for its ancestors exactly once, exits and waits do not ask."""
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
    """The order of the ancestors means nothing, and nodes are never compared by '<'."""

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
    """Who forgot the brackets is told so, and does not lock one node per character."""
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
    """Who asks for strings gets them."""
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
    """As for any attribute that is not there."""
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


# ------------------------------------------------------------------------------------------ 7


async def test_07_nothing_is_acquired_before_the_first_step() -> None:
    """An enter that is never begun has no place in line."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering = manager.__aenter__()
    assert can_have(lock, write=[A])
    nothing_is_left(lock)
    await entering
    assert not can_have(lock, write=[A])
    exit_now(manager)


async def test_07_the_place_in_line_is_taken_at_the_first_step() -> None:
    """Of two enters the one that is first begun is first."""
    lock = TreeLock()
    made_first, made_second = lock(write=[A]), lock(write=[A])
    entering_late = made_first.__aenter__()
    enter_now(made_second)
    assert not finishes_at_once(entering_late)
    exit_now(made_second)
    nothing_is_left(lock)


async def test_07_an_enter_that_was_closed_before_it_began_does_nothing() -> None:
    """It cannot be begun any more either."""
    lock = TreeLock()
    entering = lock(write=[A]).__aenter__()
    entering.close()
    nothing_is_left(lock)
    with pytest.raises(RuntimeError):
        entering.send(None)
    nothing_is_left(lock)


async def test_07_an_enter_is_good_for_one_time() -> None:
    """What has been awaited does not lock once more."""
    lock = TreeLock()
    manager = lock(read=[A])
    entering = manager.__aenter__()
    await entering
    with pytest.raises(RuntimeError):
        await entering
    assert len(lock.snapshot()) == 1
    exit_now(manager)
    nothing_is_left(lock)


async def test_07_the_awaitable_is_a_coroutine_to_asyncio() -> None:
    """asyncio asks for these methods before it accepts something as a coroutine."""
    entering = TreeLock()(write=[A]).__aenter__()
    assert asyncio.iscoroutine(entering)
    for method in ("send", "throw", "close", "__await__"):
        assert callable(getattr(entering, method))
    entering.close()


async def through_create_task(entering: Any) -> None:
    await asyncio.create_task(entering)


async def through_ensure_future(entering: Any) -> None:
    await asyncio.ensure_future(entering)


async def through_wait_for(entering: Any) -> None:
    await asyncio.wait_for(entering, 20)


async def through_shield(entering: Any) -> None:
    await asyncio.shield(entering)


async def through_gather(entering: Any) -> None:
    await asyncio.gather(entering, asyncio.sleep(0))


async def through_the_protocol(entering: Any) -> None:
    class Wrapped:
        def __await__(self) -> Any:
            return entering.__await__()

    await Wrapped()


THROUGH = [
    through_create_task,
    through_ensure_future,
    through_wait_for,
    through_shield,
    through_gather,
    through_the_protocol,
]


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("contended", [False, True])
async def test_07_enter_and_exit_go_through_asyncio(through: Any, contended: bool) -> None:
    """Whatever asyncio does with coroutines it does with these, at once or after a wait."""
    lock = TreeLock()
    holder = await hold(lock(write=[A] if contended else [B]))
    manager = lock(write=[A])
    entering = asyncio.ensure_future(through(manager.__aenter__()))
    await settle()
    assert entering.done() is not contended
    await holder.leave()
    await entering
    assert not can_have(lock, read=[A])
    await through(manager.__aexit__(None, None, None))
    nothing_is_left(lock)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in Python 3.11")
async def test_07_asyncio_timeout_takes_the_waiter_out_of_the_line() -> None:
    """The event loop's own time limit is a way to wait for so long and no longer."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), lock(write=[A]):
            pytest.fail("entered")
    assert len(lock.snapshot()) == 1
    await holder.leave()
    async with asyncio.timeout(20), lock(write=[A]):
        pass
    nothing_is_left(lock)


async def test_07_wait_for_takes_the_waiter_out_of_the_line() -> None:
    """So is the older one."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(lock(write=[A]).__aenter__(), 0.01)
    assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


async def test_07_exit_stacks() -> None:
    """A stack enters and leaves like ``async with``, also when its body raises."""
    lock = TreeLock()
    with pytest.raises(Broken):
        async with contextlib.AsyncExitStack() as stack:
            for path in (A, B):
                assert await stack.enter_async_context(lock(write=[path])) is None  # type: ignore[func-returns-value]
            stack.enter_context(lock(write=[C]))
            assert not any(can_have(lock, read=[path]) for path in (A, B, C))
            raise Broken
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 8


async def test_08_as_gives_none() -> None:
    """There is nothing to be had from entering."""
    lock = TreeLock()
    async with lock(write=[A]) as value:
        assert value is None
    with lock(write=[A]) as value:
        assert value is None


async def test_08_exit_never_suppresses() -> None:
    """An exit says, by a value that is false, that the exception goes on."""
    lock = TreeLock()
    manager = lock(write=[A])
    error = Broken()
    for details in ((None, None, None), (Broken, error, None)):
        await manager.__aenter__()
        assert not await manager.__aexit__(*details)  # type: ignore[func-returns-value]
        manager.__enter__()
        assert not manager.__exit__(*details)  # type: ignore[func-returns-value]
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------------ 9


@pytest.mark.parametrize("roots", [0, 1, 100])
async def test_09_uncontended_enter_and_exit_finish_in_their_first_step(roots: int) -> None:
    """Their first step raises StopIteration, with nothing as its value."""
    lock = TreeLock()
    write = [PurePosixPath(f"/w/{number}/x") for number in range(roots)]
    read = [PurePosixPath(f"/r/{number}/x") for number in range(roots)]
    manager = lock(read, write)
    for _ in range(3):
        with pytest.raises(StopIteration) as entered:
            manager.__aenter__().send(None)
        assert entered.value.value is None
        with pytest.raises(StopIteration) as left:
            manager.__aexit__(None, None, None).send(None)
        assert not left.value.value
    nothing_is_left(lock)


async def test_09_the_event_loop_does_not_turn_meanwhile() -> None:
    """What the loop was told to do soon has not been done after a whole ``async with``."""
    lock = TreeLock()
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    for _ in range(3):
        async with lock(read=[A], write=[B]):
            assert not turned
    async with lock(read=[ROOT]), lock(read=[ROOT]):
        assert not turned
    assert not turned
    await asyncio.sleep(0)
    assert turned


async def test_09_an_exit_that_wakes_others_takes_no_turn_either() -> None:
    """A hundred waiters are not waited for."""
    lock = TreeLock()
    manager = lock(write=[A])
    await manager.__aenter__()
    waiters = [await visit(lock(read=[A])) for _ in range(100)]
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    exit_now(manager)
    assert not turned
    await settle()
    for waiter in waiters:
        await waiter.leave()
    nothing_is_left(lock)


async def test_09_an_exit_by_an_exception_takes_no_turn() -> None:
    """Nor does an exit that an exception causes."""
    lock = TreeLock()
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    with pytest.raises(Broken):
        async with lock(write=[A]):
            raise Broken
    assert not turned
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 10


async def test_10_one_turn_from_release_to_waiter() -> None:
    """After the release and one turn of the loop the waiter runs; before that turn it does not."""
    lock = TreeLock()
    holder = lock(write=[A])
    await holder.__aenter__()
    waiter = await visit(lock(write=[A]))
    await holder.__aexit__(None, None, None)
    assert not waiter.inside
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


async def test_10_one_turn_for_all_who_can_go() -> None:
    """All readers behind a writer run in the same turn."""
    lock = TreeLock()
    holder = lock(write=[ROOT])
    await holder.__aenter__()
    readers = [await visit(lock(read=[A])) for _ in range(20)]
    await holder.__aexit__(None, None, None)
    await asyncio.sleep(0)
    assert all(reader.inside for reader in readers)
    for reader in readers:
        await reader.leave()


async def test_10_one_turn_from_the_last_of_several_blockers() -> None:
    """A waiter with many roots in many places costs no turn for each."""
    lock = TreeLock()
    holders = [lock(write=[path]) for path in (A_B, B, C)]
    for holder in holders:
        await holder.__aenter__()
    waiter = await visit(lock(read=[A, B], write=[C / "d", C]))
    for holder in holders:
        assert not waiter.inside
        await holder.__aexit__(None, None, None)
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()


async def test_10_one_turn_from_task_to_task() -> None:
    """A line of tasks that do nothing inside moves on by one task per turn."""
    lock = TreeLock()
    inside: list[int] = []

    async def pass_through(number: int) -> None:
        async with lock(write=[A]):
            inside.append(number)

    holder = lock(write=[A])
    await holder.__aenter__()
    tasks = [asyncio.ensure_future(pass_through(number)) for number in range(10)]
    await settle()
    await holder.__aexit__(None, None, None)
    for number in range(10):
        assert inside == list(range(number))
        await asyncio.sleep(0)
    assert inside == list(range(10))
    await asyncio.gather(*tasks)


async def test_10_one_turn_from_a_release_that_is_not_awaited() -> None:
    """``with`` and ``release()`` in the thread of the loop wake its tasks as fast."""
    lock = TreeLock()
    plain = lock(write=[A])
    for by_exit in (True, False):
        plain.__enter__()
        waiter = await visit(lock(write=[A]))
        if by_exit:
            plain.__exit__(None, None, None)
        else:
            plain.release()
        assert not waiter.inside
        await asyncio.sleep(0)
        assert waiter.inside
        await waiter.leave()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 11


@pytest.mark.parametrize("times", [1, 2])
async def test_11_cancelled_before_it_began(times: int) -> None:
    """A task that never ran has asked for nothing."""
    lock = TreeLock()
    for entering in (lock(write=[A]).__aenter__(), enter(lock(write=[A]))):
        task = asyncio.ensure_future(entering)
        for _ in range(times):
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        nothing_is_left(lock)


async def enter(manager: Any) -> None:
    """Enters, in a coroutine of Python's own around the awaitable."""
    await manager.__aenter__()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("bare", [True, False], ids=["task of the awaitable", "task around it"])
async def test_11_cancelled_in_line(times: int, bare: bool) -> None:
    """Who is cancelled in line is out of it in the next turn, and those behind move up."""
    lock = TreeLock()
    holder = await hold(lock(read=[A]))
    manager = lock(write=[A])
    task = asyncio.ensure_future(manager.__aenter__() if bare else enter(manager))
    await settle()
    behind = await visit(lock(read=[A]))
    assert not behind.inside
    for _ in range(times):
        task.cancel()
    await settle()
    assert task.cancelled()
    assert behind.inside
    await holder.leave()
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("bare", [True, False], ids=["task of the awaitable", "task around it"])
async def test_11_cancelled_between_grant_and_running(times: int, bare: bool) -> None:
    """A grant that nobody has seen yet is given back, and the next in line has it."""
    lock = TreeLock()
    holder = lock(write=[A])
    await holder.__aenter__()
    manager = lock(write=[A])
    task = asyncio.ensure_future(manager.__aenter__() if bare else enter(manager))
    await settle()
    behind = await visit(lock(write=[A]))
    await holder.__aexit__(None, None, None)  # now the grant is on its way
    assert not task.done()
    for _ in range(times):
        task.cancel()
    await settle()
    assert task.cancelled()
    assert not manager.locked()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("times", [1, 2])
async def test_11_cancelled_in_the_body(times: int) -> None:
    """Who is cancelled inside leaves, and the next in line goes in."""
    lock = TreeLock()
    visitor = await hold(lock(write=[A]))
    behind = await visit(lock(write=[A]))
    for _ in range(times):
        visitor.task.cancel()
    await settle()
    assert visitor.task.cancelled()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


async def test_11_cancelled_again_while_it_cleans_up() -> None:
    """The second cancellation finds the task in its own clean-up, the lock long given back."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))

    async def cleans_up() -> None:
        try:
            async with lock(write=[A]):
                pytest.fail("entered")
        finally:
            await asyncio.sleep(1000)

    task = asyncio.ensure_future(cleans_up())
    await settle()
    task.cancel()
    await settle()
    assert not task.done() and len(lock.snapshot()) == 1
    task.cancel()
    await asyncio.wait([task])
    await holder.leave()
    nothing_is_left(lock)


async def test_11_a_cancellation_that_is_swallowed_allows_another_try() -> None:
    """Who survives a cancellation may ask again, at the end of the line."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    order: list[str] = []

    async def stubborn() -> None:
        manager = lock(write=[A])
        with contextlib.suppress(asyncio.CancelledError):
            await manager.__aenter__()
        async with manager:
            order.append("stubborn")

    async def patient() -> None:
        async with lock(write=[A]):
            order.append("patient")

    tasks = [asyncio.ensure_future(stubborn())]
    await settle()
    tasks.append(asyncio.ensure_future(patient()))
    await settle()
    tasks[0].cancel()
    await settle()
    await holder.leave()
    await asyncio.gather(*tasks)
    assert order == ["patient", "stubborn"]
    nothing_is_left(lock)


@pytest.mark.parametrize("through", [None, through_wait_for])
async def test_11_cancelled_at_every_turn(through: Any) -> None:
    """Whatever the turn in which one is cancelled, and again, nothing is lost.

    The release comes at every turn too, so that cancel and release meet in each possible way.
    """
    for release_at, cancel_at, again in itertools.product(range(6), range(8), [None, 0, 1, 2]):
        cancels = [cancel_at] if again is None else [cancel_at, cancel_at + again]
        lock = TreeLock()
        await release_and_cancel(lock, release_at, cancels, through)
        nothing_is_left(lock)


async def release_and_cancel(
    lock: TreeLock, release_at: int, cancels: list[int], through: Any
) -> None:
    """A holder leaves at one turn, a visitor is cancelled at others, and a third waits for both."""
    holder = lock(read=[A], write=[B])
    await holder.__aenter__()

    async def stay_for_two_turns() -> None:
        manager = lock(read=[B], write=[A_B])
        entering = manager.__aenter__()
        await (entering if through is None else through(entering))
        try:
            await settle(2)
        finally:
            await manager.__aexit__(None, None, None)

    task = asyncio.ensure_future(stay_for_two_turns())
    behind = lock(write=[A, B])
    for turn in range(12):
        if turn == 3:
            third = Visit(behind)
        if turn == release_at:
            await holder.__aexit__(None, None, None)
        for _ in range(cancels.count(turn)):
            task.cancel()
        await asyncio.sleep(0)
    await settle()
    assert task.done() and third.inside, (release_at, cancels)
    await third.leave()


def by_close(entering: Any) -> None:
    entering.close()


def by_cancellation(entering: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        entering.throw(asyncio.CancelledError())


def by_another_exception(entering: Any) -> None:
    with pytest.raises(Broken, match=r"^thrown$"):
        entering.throw(Broken("thrown"))


def by_a_type(entering: Any) -> None:
    with pytest.raises(Broken):
        entering.throw(Broken)


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize("end", [by_close, by_cancellation, by_another_exception, by_a_type])
async def test_11_an_enter_that_is_ended_by_hand(granted: bool, end: Any) -> None:
    """``throw`` and ``close`` leave the line, and give back a grant that was not seen."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    enter_now(holder)
    entering = manager.__aenter__()
    entering.send(None)
    behind = await visit(lock(read=[A_B]))
    if granted:
        exit_now(holder)
    end(entering)
    entering.close()  # once more does nothing
    assert not manager.locked()
    if not granted:
        assert [entry.state for entry in lock.snapshot()] == ["held", "waiting"]
        exit_now(holder)
    await asyncio.sleep(0)
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("granted", [False, True])
async def test_11_an_enter_that_is_dropped(granted: bool) -> None:
    """What nobody refers to any more waits for nothing and holds nothing."""
    lock = TreeLock()
    holder = lock(write=[A])
    enter_now(holder)
    entering = lock(write=[A]).__aenter__()
    entering.send(None)
    behind = await visit(lock(read=[A_B]))
    if granted:
        exit_now(holder)
    del entering
    gc.collect()
    if not granted:
        assert [entry.state for entry in lock.snapshot()] == ["held", "waiting"]
        exit_now(holder)
    await settle()
    assert behind.inside
    await behind.leave()
    nothing_is_left(lock)


def test_11_an_event_loop_that_ends_cancels_its_waiters() -> None:
    """What ``asyncio.run`` cancels at its end is out of the lock."""
    lock = TreeLock()
    with lock(write=[A]):

        async def leave_tasks_behind() -> None:
            for _ in range(3):
                await visit(lock(write=[A]))
            assert len(lock.snapshot()) == 4

        run(leave_tasks_behind())
        assert len(lock.snapshot()) == 1
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 12

BODY_EXCEPTIONS = [
    Broken("body"),
    KeyError("body"),
    StopIteration("body"),
    StopAsyncIteration("body"),
    GeneratorExit("body"),
    asyncio.CancelledError("body"),
    KeyboardInterrupt("body"),
    SystemExit("body"),
    BaseException("body"),
]


@pytest.mark.parametrize("error", BODY_EXCEPTIONS, ids=lambda error: type(error).__name__)
async def test_12_exceptions_of_the_body_propagate_and_release(error: BaseException) -> None:
    """Whatever the body raises comes out, the very object, and the lock is free."""
    lock = TreeLock()
    with pytest.raises(type(error)) as caught:
        async with lock(read=[B], write=[A]):
            raise error
    assert caught.value is error
    nothing_is_left(lock)
    with pytest.raises(type(error)) as caught, lock(read=[B], write=[A]):
        raise error
    assert caught.value is error
    nothing_is_left(lock)


async def test_12_an_exception_lets_the_next_in_line_go() -> None:
    """A body that fails does not keep the others out."""
    lock = TreeLock()
    with pytest.raises(Broken):
        async with lock(write=[A]):
            waiter = await visit(lock(write=[A]))
            assert not waiter.inside
            raise Broken
    await asyncio.sleep(0)
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 13


async def test_13_a_context_manager_can_be_entered_again() -> None:
    """One that was left is as good as new, also after an exception and a cancellation."""
    lock = TreeLock()
    manager = lock(write=[A])
    for _ in range(3):
        async with manager:
            assert not can_have(lock, read=[A])
        with manager:
            assert not can_have(lock, read=[A])
        with pytest.raises(Broken):
            async with manager:
                raise Broken
        holder = await hold(lock(read=[A]))
        await (await visit(manager)).cancel()
        await holder.leave()
        nothing_is_left(lock)


def test_13_roots_are_read_again_each_time() -> None:
    """A list that was changed is locked as it is now."""
    lock = TreeLock()
    read, write = [A], [B]
    manager = lock(read, write)
    with manager:
        assert not can_have(lock, write=[A])
    read[:], write[:] = [], [C]
    with manager:
        assert can_have(lock, write=[A, B])
        assert not can_have(lock, read=[C])
    write.append(A)
    with manager:
        assert not can_have(lock, read=[C])
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


def test_13_a_list_changed_while_it_is_held_changes_nothing() -> None:
    """What is held, and is released, is what was asked for."""
    lock = TreeLock()
    roots = [A]
    with lock(write=roots):
        roots[:] = [B]
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


async def test_13_a_list_changed_while_it_waits_changes_nothing() -> None:
    """A waiting request asks for what the list was when it took its place in line."""
    lock = TreeLock()
    roots = [A]
    holder = await hold(lock(write=[A]))
    waiter = await visit(lock(write=roots))
    roots[:] = [B]
    await holder.leave()
    await settle()
    assert waiter.inside
    assert not can_have(lock, read=[A]) and can_have(lock, write=[B])
    await waiter.leave()
    nothing_is_left(lock)


ONE_SHOT: dict[str, Callable[[list[Any]], Any]] = {
    "generator": lambda nodes: (node for node in nodes),
    "iterator": iter,
    "map": lambda nodes: map(PurePosixPath, nodes),
    "reversed": reversed,
}


@pytest.mark.parametrize("make", ONE_SHOT.values(), ids=ONE_SHOT)
def test_13_a_spent_iterator_locks_what_it_locked_before(
    make: Callable[[list[Any]], Any],
) -> None:
    """The second and the third enter lock what the first locked."""
    lock = TreeLock()
    manager = lock(make([A_B, B]), make([C]))
    for _ in range(3):
        with manager:
            assert can_have(lock, read=[A, B])
            assert not can_have(lock, write=[A_B])
            assert not can_have(lock, write=[B])
            assert not can_have(lock, read=[C])
        nothing_is_left(lock)


async def test_13_a_spent_iterator_after_a_cancelled_wait() -> None:
    """An enter that was not granted has read the iterator too."""
    lock = TreeLock()
    manager = lock(write=(path for path in [A, B]))
    holder = await hold(lock(write=[B]))
    await (await visit(manager)).cancel()
    with pytest.raises(RuntimeError), manager:  # a running loop does not wait
        pytest.fail("entered")
    assert not manager.acquire(blocking=False)
    await holder.leave()
    async with manager:
        assert not can_have(lock, read=[A])
        assert not can_have(lock, read=[B])
    nothing_is_left(lock)


def roots_then_error() -> Iterator[PurePosixPath]:
    yield A
    raise Broken("midway")


def roots_then_no_node() -> Iterator[Any]:
    yield A
    yield object()
    yield B


def error_at_once() -> Iterator[PurePosixPath]:
    raise Broken("at once")
    yield A


@pytest.mark.parametrize("argument", ["read", "write"])
@pytest.mark.parametrize("roots", [roots_then_error, roots_then_no_node, error_at_once])
def test_13_a_generator_that_failed_never_locks_less(argument: str, roots: Any) -> None:
    """A generator that raised is finished, and finished looks like empty: it must raise again."""
    lock = TreeLock()
    manager = given(lock, {argument: roots()})
    with pytest.raises((Broken, AttributeError)), manager:
        pytest.fail("entered")
    for _ in range(3):
        with pytest.raises((Broken, AttributeError, RuntimeError)), manager:
            pytest.fail("entered with fewer roots than it was given")
        nothing_is_left(lock)


@pytest.mark.parametrize("roots", [roots_then_error, roots_then_no_node, error_at_once])
async def test_13_a_generator_that_failed_never_locks_less_in_a_loop(roots: Any) -> None:
    """The same with ``async with``."""
    lock = TreeLock()
    manager = lock(write=roots())
    for _ in range(3):
        with pytest.raises((Broken, AttributeError, RuntimeError)):
            async with manager:
                pytest.fail("entered with fewer roots than it was given")
        nothing_is_left(lock)


def test_13_one_argument_fails_and_the_other_is_an_iterator() -> None:
    """An iterator is not forgotten because the other argument was wrong."""
    lock = TreeLock()
    for first, second in (("read", "write"), ("write", "read")):
        bad: list[Any] = [object()]
        manager = given(lock, {first: iter([A]), second: bad})
        with pytest.raises(AttributeError), manager:
            pytest.fail("entered")
        bad[:] = [B]
        with manager:
            assert not can_have(lock, write=[A])
            assert not can_have(lock, write=[B])
        nothing_is_left(lock)


async def test_13_writers_with_one_context_manager_take_turns() -> None:
    """Two tasks that use the same context manager are two, and exclude each other."""
    lock = TreeLock()
    shared = lock(write=[A])
    first = await hold(shared)
    second = await visit(shared)
    third = await visit(shared)
    assert not second.inside and not third.inside
    await first.leave()
    await settle()
    assert second.inside and not third.inside
    assert not can_have(lock, read=[A])
    await second.leave()
    await settle()
    assert third.inside
    await third.leave()
    nothing_is_left(lock)


async def test_13_each_of_several_readers_holds_for_itself() -> None:
    """Whoever of them leaves, the others hold on."""
    lock = TreeLock()
    shared = lock(read=[A])
    readers = [await hold(shared) for _ in range(4)]
    for reader in (readers[1], readers[3], readers[0], readers[2]):
        assert not can_have(lock, write=[A])
        await reader.leave()
    nothing_is_left(lock)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_13_a_list_that_changes_between_the_enters_of_several_tasks(
    order: tuple[int, ...],
) -> None:
    """Each task holds what the list was when it entered, until it leaves itself."""
    lock = TreeLock()
    roots: list[PurePosixPath] = []
    shared = lock(write=roots)
    visitors = []
    for path in (A, B, C):
        roots[:] = [path]
        visitors.append(await hold(shared))
    roots.clear()
    gone: set[int] = set()
    for leaving in order:
        await visitors[leaving].leave()
        gone.add(leaving)
        for number, path in enumerate((A, B, C)):
            assert can_have(lock, write=[path]) is (number in gone)
    nothing_is_left(lock)


async def test_13_nested_in_one_task() -> None:
    """The inner exit of the same context manager leaves what the inner enter entered."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    async with manager:
        roots[:] = [B]
        async with manager:
            assert not can_have(lock, read=[A])
            assert not can_have(lock, read=[B])
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


def test_13_one_context_manager_in_several_threads() -> None:
    """Each thread leaves what it entered."""
    lock = TreeLock()
    roots = [A]
    shared = lock(write=roots)
    with shared:
        roots[:] = [B]
        entered, leave = threading.Event(), threading.Event()

        def visit_b() -> None:
            with shared:
                entered.set()
                assert leave.wait(20)

        thread = threading.Thread(target=visit_b, daemon=True)
        thread.start()
        assert entered.wait(20)
        roots[:] = [C]
        assert not can_have(lock, read=[A]) and not can_have(lock, read=[B])
        leave.set()
        thread.join(20)
        assert not can_have(lock, read=[A])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 14


async def test_14_enter_in_one_task_and_exit_in_another() -> None:
    """Nobody owns what is held: who has the context manager can leave."""
    lock = TreeLock()
    manager = lock(write=[A])
    await asyncio.create_task(manager.__aenter__())
    assert not can_have(lock, read=[A])
    waiter = await visit(lock(write=[A]))
    await asyncio.create_task(exit_in(manager))
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


async def exit_in(manager: Any) -> None:
    """Leaves, in the task that runs this."""
    await manager.__aexit__(None, None, None)


def test_14_enter_in_one_thread_and_exit_in_another() -> None:
    """Nor does a thread own it, and how one enters does not say how one leaves."""
    lock = TreeLock()
    manager = lock(write=[A])
    manager.__enter__()
    in_thread(lambda: run(exit_in(manager)))
    nothing_is_left(lock)
    in_thread(lambda: run(enter(manager)))
    assert not can_have(lock, read=[A])
    manager.release()
    nothing_is_left(lock)


@pytest.mark.parametrize("inner", [A, A_B, ROOT])
async def test_14_not_re_entrant(inner: PurePosixPath) -> None:
    """Who holds and asks again for what conflicts waits, as anybody would."""
    lock = TreeLock()
    outer = lock(write=[A])
    async with outer:
        assert not finishes_at_once(lock(write=[inner]).__aenter__())
        assert not finishes_at_once(lock(read=[inner]).__aenter__())
        assert not finishes_at_once(outer.__aenter__())
        assert not outer.acquire(blocking=False)
    nothing_is_left(lock)


async def test_14_reading_twice_is_no_conflict() -> None:
    """The same task may read what it reads."""
    lock = TreeLock()
    manager = lock(read=[A])
    async with manager, manager, lock(read=[A_B]):
        assert not can_have(lock, write=[A])
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 15

OVERLAPPING: list[Any] = [
    ROOT,
    A,
    A_B,
    A_B / "c",
    PurePosixPath("//"),
    PurePosixPath("."),
    PurePosixPath("a"),
    PurePosixPath("!a"),
    PurePosixPath(".."),
    PurePosixPath("/a/.."),
    PureWindowsPath("/A"),
    Name(),
    Name("a"),
]


def test_15_one_request_never_blocks_itself() -> None:
    """Whatever two roots it reads and whatever two it writes, it is granted at once."""
    lock = TreeLock()
    pairs = list(itertools.combinations_with_replacement(OVERLAPPING, 2))
    for read, write in itertools.product([(), *pairs], repeat=2):
        assert can_have(lock, read=read, write=write), (read, write)
    nothing_is_left(lock)


@pytest.mark.parametrize("one_shot", [False, True])
async def test_15_everything_at_once(one_shot: bool) -> None:
    """All of them, many times over, read and written, take one step."""
    lock = TreeLock()
    roots = OVERLAPPING * 3
    manager = lock(iter(roots), iter(roots)) if one_shot else lock(roots, roots)
    assert finishes_at_once(manager.__aenter__())
    assert not can_have(lock, read=[ROOT])
    exit_now(manager)
    nothing_is_left(lock)


async def test_15_a_request_that_waited_does_not_block_itself() -> None:
    """Nor does it when it had to wait for another first."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    waiter = await visit(lock(read=[A, ROOT, A_B], write=[A_B, A_B, A]))
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_15_reading_above_writing() -> None:
    """Who reads /a and writes /a/b keeps out readers of /a and writers below it, no more."""
    lock = TreeLock()
    with lock(read=[A], write=[A_B]):
        assert not can_have(lock, read=[A])
        assert not can_have(lock, read=[A_B])
        assert not can_have(lock, read=[ROOT])
        assert not can_have(lock, write=[A / "c"])
        assert can_have(lock, read=[A / "c"])
        assert can_have(lock, write=[B])
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 16


class Plain(PurePosixPath):
    """A sub-class that changes nothing."""


class PlainWindows(PureWindowsPath):
    """A sub-class of the other kind that changes nothing."""


class Tagged(PurePosixPath):
    """A sub-class with more to it, but nothing that says which node it is."""

    tag = "t"

    def __repr__(self) -> str:
        return "Tagged()"

    def __fspath__(self) -> str:
        return "/elsewhere"

    def as_posix(self) -> str:
        return "/elsewhere"

    @property
    def name(self) -> str:
        return "other"

    @property
    def parent(self) -> Any:
        raise Broken

    @property
    def parts(self) -> tuple[str, ...]:
        raise Broken


class OwnParents(PurePosixPath):
    """A sub-class that lists its ancestors itself: backwards, and only once."""

    @property
    def parents(self) -> Iterator[PurePosixPath]:  # type: ignore[override]
        return reversed(PurePosixPath(str(self)).parents)


class ShownOtherwise(PurePosixPath):
    """A sub-class with another ``str()``; from Python 3.12 on this changes what it is equal to."""

    def __str__(self) -> str:
        return "shown:" + super().__str__()


class Folded(PurePosixPath):
    """A sub-class with another equality: upper and lower case are the same."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and str(self).lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(("folded", str(self).lower()))


KINDS: list[type[PurePath]] = [
    PurePosixPath,
    Plain,
    Tagged,
    OwnParents,
    Folded,
    PureWindowsPath,
    PlainWindows,
]
if os.name == "posix":
    KINDS.append(pathlib.PosixPath)

TEXTS = [
    "/",
    "//",
    ".",
    "..",
    "/a",
    "//a",
    "a",
    "/A",
    "/a/b",
    "/a/B",
    "a/b",
    "//a/b",
    "/a/..",
    "/a/../b",
    "/b",
    "../b",
    "b",
    "/..",
    "/\udc80",
    "/\udc80/\udcff",
    "/\udc81",
    "\ud800",
    "/\x00",
    "/a\n",
    "/a b",
    "/a ",
    "/...",
    "/\u00e9",
    "/e\u0301",
    "/\U0001f600/b",
    "c:/a",
    "C:/A",
    "C:a",
    "c:",
    "d:/a",
    "\\a",
    "//server/share/a",
    "//SERVER/Share/A/b",
]


def every_path() -> list[PurePath]:
    return [kind(text) for kind in KINDS for text in TEXTS]


def overlap(one: Any, other: Any) -> bool:
    """The rule itself: nodes are what they are to a set or dict, by ``hash`` and ``==``."""
    return one in {other, *other.parents} or other in {one, *one.parents}


def conflict(lock: TreeLock, one: Any, other: Any) -> bool:
    """Whether the lock keeps two writers of these nodes apart."""
    with lock(write=[one]):
        return not can_have(lock, write=[other])


@pytest.mark.parametrize("kind", KINDS)
def test_16_paths_of_all_kinds_are_what_their_own_equality_says(kind: type[PurePath]) -> None:
    """Any path conflicts with any other iff one equals the other or an ancestor of it."""
    lock = TreeLock()
    others = every_path()
    for one in map(kind, TEXTS):
        for other in others:
            assert conflict(lock, one, other) is overlap(one, other), (one, other)
    nothing_is_left(lock)


def test_16_a_path_with_another_str_is_what_its_own_equality_says() -> None:
    """From Python 3.12 on a path's ``str()`` is what ``==`` and ``hash`` are made of."""
    lock = TreeLock()
    texts = ["/", "/a", "/a/b", "/A", "a", "."]
    shown = list(map(ShownOtherwise, texts))
    others = [kind(text) for kind in (PurePosixPath, Plain, OwnParents) for text in texts]
    for one, other in itertools.product(shown, shown + others):
        assert conflict(lock, one, other) is overlap(one, other), (one, other)
        assert conflict(lock, other, one) is overlap(one, other), (other, one)
    nothing_is_left(lock)


def test_16_paths_of_all_kinds_in_one_request() -> None:
    """The same when all but one of the nodes are in one request together."""
    lock = TreeLock()
    everything = every_path()
    for probe in (PurePosixPath("/a/b/c"), PurePosixPath("x"), PureWindowsPath("C:/a/b")):
        free = [path for path in everything if not overlap(path, probe)]
        assert len(free) < len(everything)
        with lock(write=free):
            assert can_have(lock, write=[probe])
        with lock(read=everything):
            assert can_have(lock, read=[probe]) and not can_have(lock, write=[probe])
    nothing_is_left(lock)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("/", "//", False),
        ("/", ".", False),
        ("//", ".", False),
        ("/a", "//a", False),
        ("/a", "a", False),
        ("//", "//a", True),
        ("/", "/a", True),
        (".", "a", True),
        ("///a", "/a", True),
        ("/a/./b", "/a/b", True),
        ("/a//b/", "/a/b", True),
        ("/a/../b", "/b", False),
        ("/a/../b", "/a", True),
        ("/a/../b", "/a/..", True),
        ("/a/..", "/", True),
        ("..", "../b", True),
        ("..", ".", True),
        ("..", "b", False),
        ("/a", "/A", False),
        ("/a/b", "/ab", False),
        ("/a", "/ab", False),
        ("/\udc80", "/\udc80/x", True),
        ("/\udc80", "/\udc81", False),
        ("/\\", "/", True),
        ("/a\\b", "/a", False),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_16_posix_paths(one: str, other: str, expected: bool, swap: bool) -> None:
    """The same in words: three trees, '..' is a name like others, and any text is legal."""
    pair = [PurePosixPath(one), PurePosixPath(other)]
    if swap:
        pair.reverse()
    assert conflict(TreeLock(), *pair) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("C:/A", "c:/a", True),
        ("C:/A/b", "c:\\a", True),
        ("C:/a", "D:/a", False),
        ("C:a", "C:/a", False),
        ("C:a", "c:", True),
        ("C:/", "c:/x", True),
        ("/a", "C:/a", False),
        ("//Server/Share/x", "//server/share/", True),
        ("//server/share/x", "//server/other/x", False),
        ("C:/\u00c9", "c:/\u00e9/x", True),
    ],
)
def test_16_windows_paths(one: str, other: str, expected: bool) -> None:
    """Their letters have no case, and each drive is a tree of its own."""
    assert conflict(TreeLock(), PureWindowsPath(one), PureWindowsPath(other)) is expected


def test_16_windows_paths_are_not_posix_paths() -> None:
    """Paths of the two kinds are never equal, so one lock can have both."""
    assert not conflict(TreeLock(), PureWindowsPath("/a"), PurePosixPath("/a"))


SAME = [PurePosixPath, Plain, Tagged, OwnParents, *KINDS[8:]]


@pytest.mark.parametrize("above", SAME)
@pytest.mark.parametrize("below", SAME)
def test_16_equal_nodes_of_different_type_are_one(above: Any, below: Any) -> None:
    """Which of the types is asked for first makes no difference."""
    lock = TreeLock()
    assert above("/a") == below("/a")
    for one, other in ((above("/a"), below("/a")), (above("/a"), below("/a/b"))):
        assert conflict(lock, one, other) and conflict(lock, other, one)
        with lock(read=[one]):
            assert can_have(lock, read=[other]) and not can_have(lock, write=[other])
    assert not conflict(lock, above("/a"), below("/b"))
    nothing_is_left(lock)


@pytest.mark.parametrize("text", ["/\udc80", "/a\n\x1b[31m", "/\x00", "/\ud800\udc00", "/'\""])
def test_16_any_text_can_be_shown(text: str) -> None:
    """Neither a snapshot nor a message fails because of what a path is called."""
    lock = TreeLock()
    path = PurePosixPath(text)
    with lock(write=[path], label="who"):
        (entry,) = lock.snapshot()
        assert entry.roots == (treelock.Root("write", path),)
        assert str(lock.snapshot()) and repr(lock.snapshot()) and repr(lock)
        with pytest.raises(treelock.LockTimeout) as caught, lock(read=[path / "x"], timeout=0):
            pytest.fail("entered")
        assert str(caught.value)
        assert caught.value.blocked.blocker == ("write", path)
        assert caught.value.blocked.label == "who"


def test_16_deep_and_long_paths() -> None:
    """Neither depth nor length has a limit that one would meet."""
    lock = TreeLock()
    deep = PurePosixPath("/" + "/".join(["d"] * 2_000))
    long = PurePosixPath("/" + "x" * 1_000_000)
    assert conflict(lock, deep, deep.parents[1_000])
    assert not conflict(lock, deep, deep.parents[1_000] / "e")
    assert conflict(lock, long, PurePosixPath("/" + "x" * 1_000_000))
    assert not conflict(lock, long, PurePosixPath("/" + "x" * 999_999))


# ----------------------------------------------------------------------------------------- 17


class NamedLock(TreeLock):
    """A sub-class with arguments that are none of the lock's."""

    def __init__(self, name: str, *, size: int = 1) -> None:
        super().__init__()
        self.name = name
        self.size = size


async def test_17_a_sub_class_has_its_own_arguments() -> None:
    """They reach its ``__init__``, and it locks."""
    lock = NamedLock("files", size=3)
    assert (lock.name, lock.size) == ("files", 3)
    async with lock([], [A]):
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)
    assert isinstance(NamedLock(name="files"), TreeLock)
    with pytest.raises(TypeError):
        NamedLock()  # type: ignore[call-arg]


def test_17_a_sub_class_can_choose_strings() -> None:
    """What it passes on to ``TreeLock.__init__`` counts, not what it was given itself."""

    class OfStrings(TreeLock):
        def __init__(self, prefix: str) -> None:
            super().__init__(strings=True)
            self.prefix = prefix

    lock = OfStrings("p")
    with lock(write=["/a"]):
        assert not can_have(lock, read=["a/b"])
    with pytest.raises(TypeError), lock(write=[A]):
        pytest.fail("entered")


def test_17_a_sub_class_can_extend_the_call() -> None:
    """Also with ``__slots__``, other bases and a ``__new__`` of its own."""

    class Counting:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.calls = 0
            super().__init__(*args, **kwargs)

    class Lock(Counting, TreeLock):
        __slots__ = ("extra",)

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return super().__new__(cls, *args, **kwargs)

        def __call__(self, read: Any = (), write: Any = (), **more: Any) -> Any:
            self.calls += 1
            return super().__call__(read, write, **more)

    lock = Lock()
    with lock(write=[A], label="x"):
        assert lock.calls == 1
        assert not can_have(lock, read=[A])


def test_17_attributes() -> None:
    """A lock can be given attributes."""
    lock = TreeLock()
    lock.owner = "me"  # type: ignore[attr-defined]
    assert lock.owner == "me"  # type: ignore[attr-defined]
    assert "owner" in vars(lock)
    del lock.owner  # type: ignore[attr-defined]
    assert not hasattr(lock, "owner")


@pytest.mark.parametrize("make", [TreeLock, lambda: NamedLock("x")])
def test_17_a_lock_can_be_weakly_referenced(make: Callable[[], TreeLock]) -> None:
    """It can be the key of a weak dictionary and dies with its last reference."""
    lock = make()
    reference = weakref.ref(lock)
    table = weakref.WeakKeyDictionary({lock: 1})
    with lock(write=[A]):
        pass
    assert reference() is lock and table[lock] == 1
    del lock
    gc.collect()
    assert reference() is None and not table


def test_17_a_context_manager_can_be_weakly_referenced() -> None:
    """It too dies with its last reference, entered or not before."""
    manager = TreeLock()(write=[A])
    with manager:
        pass
    reference = weakref.ref(manager)
    assert reference() is manager
    del manager
    gc.collect()
    assert reference() is None


def test_17_cycles_are_collected() -> None:
    """A lock or context manager that leads back to itself is no leak."""
    lock = TreeLock()
    lock.me = lock  # type: ignore[attr-defined]
    roots: list[Any] = []
    manager = lock(write=roots)
    lock.manager = manager  # type: ignore[attr-defined]
    roots.append(A)
    with manager:
        pass
    references: list[weakref.ref[Any]] = [weakref.ref(lock), weakref.ref(manager)]
    del lock, manager, roots
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_17_a_cycle_through_the_arguments_is_collected() -> None:
    """The arguments too can lead back to the context manager."""

    class Roots(list):  # type: ignore[type-arg]
        pass

    roots = Roots([A])
    roots.manager = TreeLock()(write=roots, label="x")  # type: ignore[attr-defined]
    with roots.manager:  # type: ignore[attr-defined]
        pass
    reference = weakref.ref(roots)
    del roots
    gc.collect()
    assert reference() is None


# ----------------------------------------------------------------------------------------- 18


def test_18_locks_are_independent() -> None:
    """What one holds is free in all others."""
    one, other = TreeLock(), TreeLock()
    with one(write=[ROOT]), other(write=[ROOT]):
        assert one.locked() and other.locked()
    with one(write=[ROOT]):
        assert not other.locked() and len(other.snapshot()) == 0


LOCK_OF_THE_MODULE = TreeLock()


def test_18_one_lock_serves_successive_event_loops() -> None:
    """A lock made before there was a loop works in each, also where tasks wait for it."""
    lock = LOCK_OF_THE_MODULE

    async def contended() -> None:
        holder = await hold(lock(write=[A]))
        waiter = await visit(lock(write=[A_B]))
        assert not waiter.inside
        await holder.leave()
        await settle()
        assert waiter.inside
        await waiter.leave()

    for _ in range(3):
        run(contended())
        nothing_is_left(lock)


def test_18_what_one_loop_holds_the_next_can_release() -> None:
    """The end of an event loop releases nothing."""
    lock = TreeLock()
    manager = lock(write=[A])
    run(enter(manager))
    assert not can_have(lock, read=[A])
    run(exit_in(manager))
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 19

MANY = 1_000


async def growth(work: Callable[[int], Coroutine[Any, Any, None]]) -> tuple[int, int]:
    """Returns by how much the tracked objects and the allocated blocks grew, without a collection.

    The first runs are not counted: they fill the lists of free objects that Python itself keeps.
    Nor are the parts of paths, which pathlib interns, on Python 3.12 for ever.
    """
    for number in range(-200, 2 * MANY):
        hash(own_path(number))
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            await work(-1 - number)
        before = len(gc.get_objects()), sys.getallocatedblocks()
        for number in range(MANY):
            await work(number)
        after = len(gc.get_objects()), sys.getallocatedblocks()
    finally:
        gc.enable()
    return after[0] - before[0], after[1] - before[1]


def own_path(number: int) -> PurePosixPath:
    return PurePosixPath(f"/{number % 50}/x/{number}")


def own_name(number: int) -> Name:
    return Name(str(number), "x", str(number))


@pytest.mark.parametrize("node", [own_path, own_name])
async def test_19_nothing_is_left_of_many_distinct_enters(node: Callable[[int], Any]) -> None:
    """A thousand enters, each of other nodes, leave less than one object per ten of them."""
    lock = TreeLock()

    async def work(number: int) -> None:
        async with lock(read=[node(2 * number)], write=[node(2 * number + 1)]):
            pass

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    nothing_is_left(lock)


@pytest.mark.parametrize("node", [own_path, own_name])
async def test_19_nothing_is_left_of_many_cancelled_waits(node: Callable[[int], Any]) -> None:
    """A thousand tasks that wait and are cancelled leave nothing either."""
    lock = TreeLock()
    holder = await hold(lock(write=[ROOT, Name()]))

    async def work(number: int) -> None:
        task = asyncio.ensure_future(lock(write=[node(number)], label=str(number)).__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    assert len(lock.snapshot()) == 1
    await holder.leave()
    nothing_is_left(lock)


async def test_19_nothing_is_left_of_many_failures() -> None:
    """Nor do refused requests and bad arguments."""
    lock = TreeLock()
    holder = await hold(lock(write=[ROOT]))

    async def work(number: int) -> None:
        assert not lock(write=[own_path(number)]).acquire(blocking=False)
        try:
            async with lock(write=[own_path(number)], timeout=0, label=str(number)):
                pytest.fail("entered")
        except treelock.LockTimeout:
            pass
        try:
            async with lock(write=[own_name(number), object()]):  # type: ignore[list-item]
                pytest.fail("entered")
        except AttributeError:
            pass

    objects, blocks = await growth(work)
    assert objects < MANY / 10 and blocks < MANY / 10
    await holder.leave()
    nothing_is_left(lock)


async def test_19_nodes_and_context_managers_die_at_once() -> None:
    """After the exit the lock refers to no node, no ancestor and no context manager."""
    lock = TreeLock()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Ancestor:
        def __init__(self, key: int) -> None:
            self.key = key
            alive.add(self)

    class Node(Ancestor):
        @property
        def parents(self) -> list[Ancestor]:
            return [Ancestor(-1), Ancestor(-2)]

    gc.disable()
    try:
        manager = lock(write=[Node(1)], read=iter([Node(2)]))
        alive.add(manager)
        async with manager:
            assert len(alive) > 0
        del manager
        assert len(alive) == 0
    finally:
        gc.enable()


class Counted:
    """A node that counts what its class is asked."""

    hashed = 0
    compared = 0

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        Counted.hashed += 1
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return isinstance(other, Counted) and self.parts == other.parts

    @property
    def parents(self) -> list[Counted]:
        return [Counted(*self.parts[:length]) for length in range(len(self.parts))]


def test_19_the_cost_does_not_depend_on_what_else_is_held() -> None:
    """Nodes are hashed and compared as often with a thousand locks held as with one."""

    def questions() -> tuple[int, int]:
        Counted.hashed = Counted.compared = 0
        with lock(write=[Counted(0, -1, -1)]):
            pass
        return Counted.hashed, Counted.compared

    lock = TreeLock()
    held = [lock(write=[Counted(0, number, 0)]) for number in range(MANY)]
    held[0].acquire()
    with_one = questions()
    for manager in held[1:]:
        manager.acquire()
    assert questions() == with_one
    for manager in held:
        manager.release()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 20


async def test_20_an_exit_without_an_enter_is_silent() -> None:
    """It does nothing, however often, and leaves alone what others hold."""
    lock = TreeLock()
    manager = lock(write=[A])
    async with lock(write=[A]):
        for _ in range(3):
            assert not await manager.__aexit__(None, None, None)  # type: ignore[func-returns-value]
            assert not manager.__exit__(None, None, None)  # type: ignore[func-returns-value]
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)


async def test_20_a_second_exit_is_silent() -> None:
    """It neither raises nor releases what somebody else entered since."""
    lock = TreeLock()
    manager = lock(write=[A])
    async with manager:
        pass
    with lock(write=[A]):
        await manager.__aexit__(None, None, None)
        manager.__exit__(None, None, None)
        assert not can_have(lock, read=[A])
    nothing_is_left(lock)
    async with manager:
        await manager.__aexit__(None, None, None)
        nothing_is_left(lock)
    nothing_is_left(lock)


async def test_20_an_exit_while_it_waits_is_silent() -> None:
    """Who only waits is not inside, and goes on waiting."""
    lock = TreeLock()
    holder = await hold(lock(write=[A]))
    manager = lock(write=[A])
    waiter = await visit(manager)
    exit_now(manager)
    assert len(lock.snapshot().waiting) == 1
    await holder.leave()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


# ----------------------------------------------------------------------------------------- 21


def entered_and_forgotten(lock: TreeLock, times: int = 1) -> None:
    """Enters and loses the only reference."""
    manager = lock(read=[A])
    for _ in range(times):
        manager.__enter__()


@pytest.mark.parametrize("times", [1, 3])
def test_21_what_is_collected_while_it_holds_releases_and_warns(times: int) -> None:
    """Nobody can leave it any more; it is a mistake, and it is not made worse."""
    lock = TreeLock()
    with pytest.warns(ResourceWarning):
        entered_and_forgotten(lock, times)
        gc.collect()
    nothing_is_left(lock)


async def test_21_entered_in_an_event_loop() -> None:
    """Those who waited for it go on."""
    lock = TreeLock()
    manager = lock(write=[A])
    await manager.__aenter__()
    waiter = await visit(lock(write=[A]))
    with pytest.warns(ResourceWarning):
        del manager
        gc.collect()
    await settle()
    assert waiter.inside
    await waiter.leave()
    nothing_is_left(lock)


def test_21_in_a_cycle() -> None:
    """The garbage collector, too, releases and warns."""
    lock = TreeLock()

    class Roots(list):  # type: ignore[type-arg]
        pass

    roots = Roots([A])
    roots.manager = lock(write=roots)  # type: ignore[attr-defined]
    roots.manager.acquire()  # type: ignore[attr-defined]
    with pytest.warns(ResourceWarning):
        del roots
        gc.collect()
    nothing_is_left(lock)


def test_21_a_warning_that_is_an_error_does_not_keep_the_lock() -> None:
    """With ``-W error`` the warning becomes an exception that nobody can catch; no more happens."""
    lock = TreeLock()
    unraisable: list[Any] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda argument: unraisable.append(argument.exc_type)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            entered_and_forgotten(lock)
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert unraisable == [ResourceWarning]
    nothing_is_left(lock)


async def test_21_dropped_in_another_thread() -> None:
    """Where it is collected makes no difference to who waits."""
    lock = TreeLock()
    managers = [lock(write=[A])]
    await managers[0].__aenter__()
    waiter = await visit(lock(write=[A]))

    def drop() -> None:
        managers.clear()
        gc.collect()

    with pytest.warns(ResourceWarning):
        await asyncio.get_running_loop().run_in_executor(None, drop)
    waiter.let_go()
    await waiter.task
    nothing_is_left(lock)


async def test_21_nothing_is_said_if_all_was_left() -> None:
    """Who leaves, is cancelled, or fails gets no warning."""
    lock = TreeLock()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        async with lock(write=[A]):
            await (await visit(lock(write=[A]))).cancel()
            assert not lock(write=[A]).acquire(blocking=False)
        with pytest.raises(AttributeError):
            async with lock(write=[object()]):  # type: ignore[list-item]
                pytest.fail("entered")
        await (await hold(lock(write=[A]))).cancel()
        gc.collect()
    assert not [each for each in said if issubclass(each.category, ResourceWarning)]
    nothing_is_left(lock)


async def test_21_a_lock_that_is_forgotten_is_no_mistake() -> None:
    """A context manager outlives its lock, and leaves it without a warning."""
    manager = TreeLock()(write=[A])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with manager:
            gc.collect()
            assert manager.locked()
            assert not manager.acquire(blocking=False)
        assert not manager.locked()
        del manager
        gc.collect()
