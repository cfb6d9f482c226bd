"""Paths are identified by their text; pathlib is the reference."""

from __future__ import annotations

import random
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from treelock import TreeLock

PARTS = {
    PurePosixPath: [
        "a",
        "A",
        "b",
        ".",
        "..",
        "/",
        "//",
        "///",
        "\\",
        "c:",
        "\udc80",
        "\n",
        "é",
        "",
    ],
    PureWindowsPath: [
        *["a", "A", "b", ".", "..", "/", "\\", "c:", "C:", "d:", "//host/share", "\\\\?\\c:\\"],
        *["ß", "SS", "Σ", "ς", "σ", "İ", "i", "\udc80", "a b", "//", "a:b", ""],
    ],
}


def random_path(kind: type[PurePath], rng: random.Random) -> PurePath:
    """Returns a path that no person would write.

    It is the path that its text describes. Up to Python 3.11, some Windows paths print as another
    path does, and some of these equal it although their parents do not.
    """
    while True:
        separator = rng.choice(["/", "/", "", "\\"])
        path = kind(separator.join(rng.choices(PARTS[kind], k=rng.randint(0, 4))))
        if (kind(str(path)), kind(str(path)).anchor) == (path, path.anchor):
            return path


def meet(one: PurePath, other: PurePath) -> bool:
    """Returns whether one is the other or above it, according to pathlib."""
    return one == other or one in other.parents or other in one.parents


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("seed", range(20))
def test_paths_meet_as_pathlib_says(kind: type[PurePath], seed: int) -> None:
    """A write of one path keeps out a read of another iff they are on one line of descent."""
    rng = random.Random(seed)
    lock = TreeLock()
    met = 0
    for _ in range(300):
        one, other = random_path(kind, rng), random_path(kind, rng)
        with lock(write=[one]):
            reader = lock(read=[other])
            granted = reader.acquire(blocking=False)
            assert granted is not meet(one, other), (one, other)
            if granted:
                reader.release()
            (entry,) = lock.snapshot()
            assert entry.roots[0].node == one
        met += not granted
    assert 10 < met < 290, "the paths are too much alike, or too little"


def test_one_lock_keeps_both_kinds_apart() -> None:
    """A POSIX path is never equal to a Windows path, whatever their texts."""
    lock = TreeLock()
    with lock(write=[PurePosixPath("a/b")]), lock(write=[PureWindowsPath("a/b")], timeout=0):
        assert len(lock.snapshot().held) == 2
