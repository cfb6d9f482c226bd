"""Paths are known by their text; what pathlib says of them is the judge."""

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
    """A path that looks like nothing that a person would write.

    It is the path that its text says: up to Python 3.11, some Windows paths print as another path
    does, and some of these are equal to it although their parents are not.
    """
    while True:
        separator = rng.choice(["/", "/", "", "\\"])
        path = kind(separator.join(rng.choices(PARTS[kind], k=rng.randint(0, 4))))
        if (kind(str(path)), kind(str(path)).anchor) == (path, path.anchor):
            return path


def meet(one: PurePath, other: PurePath) -> bool:
    """Whether one is the other or above it, as pathlib has it."""
    return one == other or one in other.parents or other in one.parents


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("seed", range(20))
def test_paths_meet_as_pathlib_says(kind: type[PurePath], seed: int) -> None:
    """A write of one path keeps a read of another out iff they are in one line."""
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
