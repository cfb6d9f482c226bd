"""Nodes, and lists of them, that change after they were examined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import can_have, nothing_is_left
from nodes import A_B, A, B, Name, Node, Place


class Plain(PurePosixPath):
    """A path in all relevant respects."""


class Own(PurePosixPath):
    """A path with its own ancestors."""

    @property
    def parents(self) -> Any:
        return super().parents


@pytest.mark.parametrize("classes", [(Plain, Own), (Own, Plain)])
def test_a_node_that_changes_its_class(classes: tuple[Any, Any]) -> None:
    """The lock is granted or an ordinary exception is raised, but never a Rust panic."""
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


def test_a_list_that_grows_while_it_is_read() -> None:
    """It is read as ``for`` reads it."""
    lock = TreeLock()
    roots: list[Any] = []

    class Growing(Name):
        @property
        def parents(self) -> Any:
            if roots[-1] is self:
                roots.append(B)
            return ()

    roots.append(Growing("x"))
    with lock(write=roots):
        assert not can_have(lock, read=[B])
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
