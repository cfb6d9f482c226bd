"""Several tasks in one context manager, whose roots differ each time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import can_have, enter, exit_in, nothing_is_left
from nodes import A, B

ORDERS: dict[str, Callable[[list[int]], None]] = {
    "first in, first out": lambda order: None,
    "last in, first out": lambda order: order.reverse(),
    "at random": lambda order: random.Random(7).shuffle(order),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("times", [1, 2])
async def test_many_tasks_in_one_context_manager(order: str, times: int) -> None:
    """Each task gives back what it entered with, although the roots differ each time."""
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


async def test_three_deep_in_one_task_with_a_list_that_changes() -> None:
    """The last one in is the first one out, even for a task's second and third."""
    lock = TreeLock()
    roots = [A]
    manager = lock(write=roots)
    nodes = [A, B, PurePosixPath("/c"), PurePosixPath("/d")]
    for node in nodes:
        roots[:] = [node]
        await manager.__aenter__()
    for left in range(len(nodes), -1, -1):
        assert [can_have(lock, write=[node]) for node in nodes] == [
            number >= left for number in range(len(nodes))
        ]
        await manager.__aexit__(None, None, None)
    nothing_is_left(lock)


async def test_a_task_that_comes_again_when_the_first_has_left() -> None:
    """Its second hold is the one that it exits first, though no other task is the first any more.
    """
    lock = TreeLock()
    roots = [A]
    manager: Any = lock(write=roots)
    await asyncio.create_task(enter(manager))
    roots[:] = [B]
    await manager.__aenter__()
    await asyncio.create_task(exit_in(manager))
    assert can_have(lock, write=[A])
    roots[:] = [PurePosixPath("/c")]
    await manager.__aenter__()
    await manager.__aexit__(None, None, None)
    assert can_have(lock, write=[PurePosixPath("/c")])
    assert not can_have(lock, write=[B])
    await manager.__aexit__(None, None, None)
    nothing_is_left(lock)
