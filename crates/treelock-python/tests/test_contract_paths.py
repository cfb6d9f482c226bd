"""Point 16 of the contract: which paths are the same node, and which are below which."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
import treelock
from treelock import TreeLock

from conftest import (
    Broken,
    can_have,
    nothing_is_left,
)
from nodes import overlap

# ----------------------------------------------------------------------------------------- 16


class Plain(PurePosixPath):
    """A subclass that changes nothing."""


class PlainWindows(PureWindowsPath):
    """A subclass of the other kind that changes nothing."""


class Tagged(PurePosixPath):
    """A subclass that changes much, but nothing that determines which node it is."""

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
    """A subclass that lists its ancestors itself: in reverse, and only once."""

    @property
    def parents(self) -> Iterator[PurePosixPath]:  # type: ignore[override]
        return reversed(PurePosixPath(str(self)).parents)


class ShownOtherwise(PurePosixPath):
    """A subclass with another ``str()``; from Python 3.12 this changes what it is equal to."""

    def __str__(self) -> str:
        return "shown:" + super().__str__()


class Folded(PurePosixPath):
    """A subclass with another equality: upper and lower case are the same."""

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


def conflict(lock: TreeLock, one: Any, other: Any) -> bool:
    """Returns whether the lock keeps two writers of these nodes apart."""
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
    """From Python 3.12 a path's ``str()`` determines ``==`` and ``hash``."""
    lock = TreeLock()
    texts = ["/", "/a", "/a/b", "/A", "a", "."]
    shown = list(map(ShownOtherwise, texts))
    others = [kind(text) for kind in (PurePosixPath, Plain, OwnParents) for text in texts]
    for one, other in itertools.product(shown, shown + others):
        assert conflict(lock, one, other) is overlap(one, other), (one, other)
        assert conflict(lock, other, one) is overlap(one, other), (other, one)
    nothing_is_left(lock)


def test_16_paths_of_all_kinds_in_one_request() -> None:
    """The same when all but one of the nodes are together in one request."""
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
    """The same in words: three trees, '..' is a name like any other, and any text is valid."""
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
    """Their letters have no case, and each drive is its own tree."""
    assert conflict(TreeLock(), PureWindowsPath(one), PureWindowsPath(other)) is expected


def test_16_windows_paths_are_not_posix_paths() -> None:
    """Paths of the two kinds are never equal, so one lock can contain both."""
    assert not conflict(TreeLock(), PureWindowsPath("/a"), PurePosixPath("/a"))


SAME = [PurePosixPath, Plain, Tagged, OwnParents, *KINDS[8:]]


@pytest.mark.parametrize("above", SAME)
@pytest.mark.parametrize("below", SAME)
def test_16_equal_nodes_of_different_type_are_one(above: Any, below: Any) -> None:
    """It makes no difference which of the types is requested first."""
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
    """Neither a snapshot nor a message fails because of a path's name."""
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
    """Neither depth nor length has a limit that matters in practice."""
    lock = TreeLock()
    deep = PurePosixPath("/" + "/".join(["d"] * 2_000))
    long = PurePosixPath("/" + "x" * 1_000_000)
    assert conflict(lock, deep, deep.parents[1_000])
    assert not conflict(lock, deep, deep.parents[1_000] / "e")
    assert conflict(lock, long, PurePosixPath("/" + "x" * 1_000_000))
    assert not conflict(lock, long, PurePosixPath("/" + "x" * 999_999))
