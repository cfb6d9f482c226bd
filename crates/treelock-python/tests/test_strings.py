"""Strings as nodes, where they are allowed: split at slashes, and never mixed with others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from treelock import TreeLock

from conftest import (
    can_have,
    given,
    hold,
    nothing_is_left,
    settle,
    visit,
)
from nodes import A_B, A

SAME_STRINGS = ["a/b", "/a/b", "a//b/", "//a/b//", "/a///b"]


@pytest.mark.parametrize("one", SAME_STRINGS)
@pytest.mark.parametrize("other", SAME_STRINGS)
def test_strings_are_split_at_slashes(one: str, other: str) -> None:
    """However many slashes there are, it is one node, with the same ancestors."""
    lock = TreeLock(strings=True)
    with lock(write=[one]):
        assert not can_have(lock, read=[other])
        assert not can_have(lock, read=[other + "/c"])
        assert not can_have(lock, read=["a"]) and not can_have(lock, read=["/"])
        assert can_have(lock, write=["a/c", "ab", "a/bc", "b"])
    nothing_is_left(lock)


@pytest.mark.parametrize("below", ["a", "/a/b", "\udc80", "...", "C:\\a", "\x00", " ", "\u00e9/x"])
def test_the_slash_is_the_root_of_all_strings(below: str) -> None:
    """A lock on '/' is a lock on everything."""
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
    """Text that cannot be resolved by name alone is an error that shows the text."""
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
    """Where strings are nodes, each character of a string would be a valid node."""
    lock = TreeLock(strings=True)
    with pytest.raises(TypeError, match=argument), given(lock, {argument: text}):
        pytest.fail("entered")
    nothing_is_left(lock)


async def test_strings_in_an_event_loop() -> None:
    """They wait and are waited for, and their errors are raised when entering."""
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
    """An enumeration of strings, for example, works as strings."""

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


# ---------------------------------------------------------------------------------- said once


@pytest.mark.parametrize("strings", [False, True])
def test_a_lock_that_is_made_twice(strings: bool) -> None:
    """The type of its nodes is set once; it cannot become another lock."""
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
    """The lock is granted or an ordinary exception is raised, but never a Rust panic."""
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
