"""What no reasonable program does, and what must not harm the others when one does it all the same."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest
from conftest import can_have, enter_now, exit_now, hold, nothing_is_left
from nodes import A_B, A, B
from test_process import prints
from treelock import LockTimeout, TreeLock, TreeLockContextManager

# ------------------------------------------------------------- Ctrl-C while another one is woken


@pytest.mark.parametrize("first", ["before", "after"])
def test_ctrl_c_while_a_release_tells_another_event_loop(first: str) -> None:
    """The waiter is woken all the same, and the interrupt reaches the main thread."""
    script = f"""
        class Loop(asyncio.SelectorEventLoop):
            interrupts = 0

            def call_soon_threadsafe(self, *arguments, **keywords):
                mine = threading.current_thread() is threading.main_thread()
                interrupts = mine and not Loop.interrupts
                Loop.interrupts += mine
                if interrupts and {first!r} == "before":
                    raise KeyboardInterrupt
                handle = super().call_soon_threadsafe(*arguments, **keywords)
                if interrupts:
                    raise KeyboardInterrupt
                return handle

        async def wait():
            entering = asyncio.ensure_future(enter())
            for _ in range(10):
                await asyncio.sleep(0)
            asleep.set()
            await asyncio.wait_for(entering, 20)

        async def enter():
            async with lock(write=[PHOTOS]):
                print("woken")

        def work():
            loop = Loop()
            loop.run_until_complete(wait())
            loop.close()

        asleep = threading.Event()
        holder.acquire()
        thread = threading.Thread(target=work)
        thread.start()
        asleep.wait()
        assert len(lock.snapshot().waiting) == 1
        interrupted = False
        try:
            holder.release()
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            interrupted = True
        thread.join()
        assert Loop.interrupts > 0
        assert len(lock.snapshot()) == 0, lock.snapshot()
        print("interrupted" if interrupted else "lost")
    """
    prints(script, "woken interrupted")


# -------------------------------------------------------------- collected while they hold


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is called with each warning, and then the warnings that there were."""
    hooks: list[Any] = []

    def show(message: Any, *arguments: Any, **keywords: Any) -> None:
        for hook in [each for each in hooks if callable(each)]:
            hook()
        hooks.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        yield hooks
        monkeypatch.undo()


def test_a_warning_that_locks(told: list[Any]) -> None:
    """When it is shown, what it speaks of has been released already."""
    lock = TreeLock()
    granted: list[bool] = []

    def acquire() -> None:
        with lock(write=[A], timeout=0):
            granted.append(not can_have(lock, read=[A]))

    told.append(acquire)
    lock(write=[A]).acquire()
    gc.collect()
    assert granted == [True]
    assert len(told) == 2
    nothing_is_left(lock)


def test_a_warning_says_what_was_held(told: list[str]) -> None:
    """As messages and snapshots do, also if the roots were given as an iterator."""
    lock = TreeLock()
    lock(read=iter([A]), write=[B]).acquire()
    gc.collect()
    assert len(told) == 1
    assert "read /a" in told[0] and "write /b" in told[0]
    nothing_is_left(lock)


@pytest.mark.parametrize("roots_first", [False, True])
def test_a_warning_says_what_was_held_in_a_cycle(told: list[str], roots_first: bool) -> None:
    """Also if the list of the roots was cleared before, as the garbage collector may do."""

    class Owner:
        roots: list[Any]
        manager: Any

    lock = TreeLock()
    first: list[Any] = []
    owner = Owner()
    owner.roots = first if roots_first else []
    owner.roots.append(A)
    owner.manager = lock(write=owner.roots)
    owner.manager.acquire()
    owner.roots.append(owner)
    del first, owner
    gc.collect()
    assert len(told) == 1
    assert "write /a" in told[0]
    nothing_is_left(lock)


def test_a_warning_says_what_was_held_when_the_list_was_changed(told: list[str]) -> None:
    """What counts is what was locked, and not what the list says by now."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    manager.acquire()
    roots[:] = [B]
    del manager
    gc.collect()
    assert len(told) == 1
    assert "write /a" in told[0] and "/b" not in told[0]
    nothing_is_left(lock)


class Holder(NamedTuple):
    """A node that refers to the context manager it is a root of; a tuple cannot be cleared."""

    name: str
    manager: Any

    @property
    def parents(self) -> tuple[Any, ...]:
        return ()


def test_a_cycle_of_tuples_is_collected() -> None:
    """A context manager that keeps what it read from an iterator lets go of it.

    That a weak reference is dead would say nothing: the garbage collector kills it first.
    """

    def enter_and_forget() -> None:
        managers: list[TreeLockContextManager] = []
        managers.append(lock(write=(Holder("a", managers[0]) for _ in range(1))))
        with managers[0]:
            assert lock.locked()

    lock = TreeLock()
    for _ in range(3):
        enter_and_forget()
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Holder]
    nothing_is_left(lock)


# ---------------------------------------------------------------- what changes under the hands


class Plain(PurePosixPath):
    """A path in all that matters."""


class Own(PurePosixPath):
    """A path with ancestors of its own."""

    @property
    def parents(self) -> Any:
        return super().parents


@pytest.mark.parametrize("classes", [(Plain, Own), (Own, Plain)])
def test_a_node_that_changes_its_class(classes: tuple[Any, Any]) -> None:
    """The lock is granted or an ordinary exception comes, and never a panic of Rust's."""
    lock = TreeLock()

    class Roots:
        def __iter__(self) -> Iterator[Any]:
            node = classes[0]("/a/b")
            yield node
            node.__class__ = classes[1]

    manager = lock(write=Roots())
    with suppress(Exception):
        manager.acquire()
        for node in (A, A_B, A_B / "c", classes[0]("/a/b"), classes[1]("/a/b")):
            assert not can_have(lock, read=[node]), node
        assert can_have(lock, write=[B])
        manager.release()
    assert not manager.locked()
    nothing_is_left(lock)


@pytest.mark.parametrize("strings", [False, True])
def test_a_lock_that_is_made_twice(strings: bool) -> None:
    """What its nodes are is said once; it cannot become another lock."""
    lock: Any = TreeLock(strings=strings)
    node: Any = "a/b" if strings else A_B
    above: Any = "a" if strings else A
    lock.__init__(strings=strings)
    with pytest.raises(ValueError, match="strings"):
        lock.__init__(strings=not strings)
    with lock(write=[node]):
        with pytest.raises(ValueError, match="strings"):
            lock.__init__(strings=not strings)
        assert not can_have(lock, read=[above])
    nothing_is_left(lock)


@pytest.mark.parametrize("strings", [False, True])
def test_a_lock_that_is_made_twice_in_the_middle_of_an_enter(strings: bool) -> None:
    """The lock is granted or an ordinary exception comes, and never a panic of Rust's."""
    lock: Any = TreeLock(strings=strings)
    node: Any = "a/b" if strings else A_B

    class Roots:
        def __iter__(self) -> Iterator[Any]:
            yield node
            lock.__init__(strings=not strings)

    with suppress(Exception), lock(write=Roots()):
        pass
    nothing_is_left(lock)
    with lock(write=[node]):
        assert not can_have(lock, read=[node])
    nothing_is_left(lock)


# ------------------------------------------------------------------------------------ hashes


class Number:
    """A node whose hash is chosen."""

    compared = 0

    def __init__(self, number: int, shift: int) -> None:
        self.number = number
        self.shift = shift

    def __hash__(self) -> int:
        return self.number << self.shift

    def __eq__(self, other: object) -> bool:
        Number.compared += 1
        return isinstance(other, Number) and self.number == other.number

    @property
    def parents(self) -> tuple[Any, ...]:
        return ()


@pytest.mark.parametrize("shift", [0, 32, 44])
def test_hashes_that_differ_in_a_few_bits_only(shift: int) -> None:
    """Nodes are compared only if their hashes are equal, and those of numbers may look like this."""
    lock = TreeLock()
    managers = [lock(write=[Number(number, shift)]) for number in range(1, 300)]
    Number.compared = 0
    for manager in managers:
        manager.acquire()
    assert Number.compared == 0
    assert not can_have(lock, read=[Number(7, shift)])
    assert Number.compared == 1
    for manager in managers:
        manager.release()
    assert Number.compared == 1
    nothing_is_left(lock)


# ----------------------------------------------------------- many in one context manager


ORDERS: dict[str, Callable[[list[int]], None]] = {
    "first in, first out": lambda order: None,
    "last in, first out": lambda order: order.reverse(),
    "at random": lambda order: random.Random(7).shuffle(order),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("times", [1, 2])
async def test_many_tasks_in_one_context_manager(order: str, times: int) -> None:
    """Each gives back what it has entered with, though the roots are others each time."""
    lock = TreeLock()
    roots: list[PurePosixPath] = []
    manager = lock(write=roots)
    go = [asyncio.Event() for _ in range(50)]

    def node(number: int, time: int) -> PurePosixPath:
        return PurePosixPath(f"/{time}/{number}")

    async def stay(number: int, time: int = 0) -> None:
        roots[:] = [node(number, time)]
        async with manager:
            if time + 1 < times:
                await stay(number, time + 1)
            else:
                await go[number].wait()

    tasks = [asyncio.ensure_future(stay(number)) for number in range(len(go))]
    await asyncio.sleep(0)
    left = {node(number, time) for number in range(len(go)) for time in range(times)}
    leaving = list(range(len(go)))
    ORDERS[order](leaving)
    for number in leaving:
        assert {entry.roots[0].node for entry in lock.snapshot().held} == left
        go[number].set()
        await tasks[number]
        left -= {node(number, time) for time in range(times)}
    assert not manager.locked()
    nothing_is_left(lock)


@pytest.mark.parametrize("other_first", [False, True])
async def test_a_task_leaves_from_inside_out_and_only_itself(other_first: bool) -> None:
    """A task that is inside twice gives back the inner one first, and never another task's."""
    lock = TreeLock()
    roots: list[PurePosixPath] = []
    manager = lock(write=roots)
    names = ["/mine/1", "/other", "/mine/2"]

    async def enter(name: str) -> None:
        roots[:] = [PurePosixPath(name)]
        await manager.__aenter__()

    async def other() -> None:
        await enter("/other")
        await go.wait()
        await manager.__aexit__(None, None, None)

    def held() -> list[str]:
        return [str(entry.roots[0].node) for entry in lock.snapshot().held]

    go = asyncio.Event()
    await enter("/mine/1")
    task = asyncio.ensure_future(other())
    await asyncio.sleep(0)
    await enter("/mine/2")
    assert held() == names
    if other_first:
        go.set()
        await task
        names.remove("/other")
    for mine in ("/mine/2", "/mine/1"):
        assert held() == names
        await manager.__aexit__(None, None, None)
        names.remove(mine)
    assert held() == names
    go.set()
    await task
    nothing_is_left(lock)


# ----------------------------------------------------------------- arguments with code of theirs


def by_await(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A], timeout=timeout).__aenter__().send(None)


def by_with(lock: TreeLock, timeout: Any) -> None:
    with lock(write=[A], timeout=timeout):
        pytest.fail("entered")


def by_acquire(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A], timeout=timeout).acquire()


def by_acquire_with_it(lock: TreeLock, timeout: Any) -> None:
    lock(write=[A]).acquire(timeout=timeout)


each_way_to_limit = pytest.mark.parametrize(
    "enter", [by_await, by_with, by_acquire, by_acquire_with_it]
)


@each_way_to_limit
def test_a_timeout_that_is_no_float_any_more(enter: Callable[[TreeLock, Any], None]) -> None:
    """An integer that is too large is told as Python tells it, and is no wrong type."""
    lock = TreeLock()
    with pytest.raises(OverflowError):
        enter(lock, 10**400)
    nothing_is_left(lock)


class OwnError(ValueError):
    pass


@each_way_to_limit
@pytest.mark.parametrize("error", [OwnError, OverflowError, KeyboardInterrupt])
def test_a_timeout_whose_code_raises(
    enter: Callable[[TreeLock, Any], None], error: type[BaseException]
) -> None:
    """What its code raises comes out as it is."""
    raised = error("mine")

    class Seconds:
        def __float__(self) -> float:
            raise raised

    lock = TreeLock()
    with pytest.raises(error) as caught:
        enter(lock, Seconds())
    assert caught.value is raised
    nothing_is_left(lock)


def test_a_label_that_no_file_can_hold() -> None:
    """Half a surrogate pair is escaped, so that messages can be printed."""
    lock = TreeLock()
    with lock(write=[A], label="a\udc80b"):
        with pytest.raises(LockTimeout) as caught, lock(read=[A], timeout=0):
            pytest.fail("entered")
        for text in (str(lock.snapshot()), str(caught.value)):
            assert r"\udc80b" in text
            assert text.encode()
    nothing_is_left(lock)


# --------------------------------------------------------------------- without a repr


class Shy:
    """A node that cannot be printed."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    @property
    def parents(self) -> tuple[Any, ...]:
        return ()


async def test_messages_about_nodes_that_cannot_be_printed() -> None:
    """They come all the same, and say all the rest."""
    lock = TreeLock()
    node = Shy()
    holder = await hold(lock(write=[node], label="import-7"))
    assert "import-7" in str(lock.snapshot())
    assert lock.snapshot().entries[0].roots[0].node is node
    with pytest.raises(LockTimeout, match="import-7") as caught:
        async with lock(write=[node], timeout=0):
            pytest.fail("entered")
    assert caught.value.blocked.blocker.node is node
    with pytest.raises(LockTimeout, match="import-7"), lock(read=[node], timeout=0):
        pytest.fail("entered")
    with pytest.raises(RuntimeError, match="import-7"), lock(read=[node]):
        pytest.fail("entered")
    await holder.leave()
    nothing_is_left(lock)


def test_a_warning_about_nodes_that_cannot_be_printed(told: list[str]) -> None:
    """The warning comes, and says of the others what they are."""
    lock = TreeLock()
    lock(read=[A], write=[Shy()]).acquire()
    gc.collect()
    assert len(told) == 1
    assert "read /a" in told[0]
    nothing_is_left(lock)


# ------------------------------------------------------------------- awaitables as coroutines


async def test_a_value_sent_to_what_has_not_begun() -> None:
    """As with a coroutine, it is an error, and nothing has begun."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    for _ in range(2):
        with pytest.raises(TypeError):
            entering.send(1)
        assert not manager.locked()
        nothing_is_left(lock)
    with pytest.raises(StopIteration):
        entering.send(None)
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


async def test_an_exception_thrown_into_what_is_over() -> None:
    """As with a coroutine, it is an error, and what was entered stays so."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    with pytest.raises(StopIteration):
        entering.send(None)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            entering.throw(KeyError("mine"))
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


@pytest.mark.parametrize("wrong", [5, None, "x", int], ids=repr)
async def test_what_is_thrown_and_is_no_exception(wrong: Any) -> None:
    """As with a coroutine, it is an error, and the awaitable goes on, begun or not."""
    lock = TreeLock()
    holder, manager = lock(write=[A]), lock(write=[A])
    enter_now(holder)
    entering: Any = manager.__aenter__()
    with pytest.raises(TypeError):
        entering.throw(wrong)
    assert entering.send(None) is not None, "it waits for a future"
    with pytest.raises(TypeError):
        entering.throw(wrong)
    assert len(lock.snapshot().waiting) == 1
    exit_now(holder)
    with pytest.raises(StopIteration):
        entering.send(None)
    assert manager.locked()
    exit_now(manager)
    nothing_is_left(lock)


async def test_a_task_says_what_it_does() -> None:
    """The repr of a task names the method that it runs."""
    lock = TreeLock()
    manager = lock(write=[A])
    entering: Any = manager.__aenter__()
    task = asyncio.create_task(entering)
    assert "TreeLockContextManager.__aenter__" in repr(task)
    await task
    exit_now(manager)
    nothing_is_left(lock)


# ------------------------------------------------------------------------- what tools ask for


def test_signatures() -> None:
    """Editors and ``help()`` show the parameters."""
    assert str(inspect.signature(TreeLock)) == "(*, strings=False)"
    for method in (TreeLockContextManager.__aexit__, TreeLockContextManager.__exit__):
        parameters = list(inspect.signature(method).parameters)
        assert parameters == ["self", "exc_type", "exc_value", "traceback"]


def test_the_protocol_of_nodes_is_there_at_run_time() -> None:
    """It is for annotations, which may be looked at when a program runs."""
    node: Any = importlib.import_module("treelock").Node
    assert getattr(node, "_is_protocol", False)
    assert "parents" in vars(node)

    class Mine(node):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def parents(self) -> tuple[Any, ...]:
            return ()

    assert Mine("a").parents == ()
