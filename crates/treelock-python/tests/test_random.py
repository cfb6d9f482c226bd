"""Random schedules against the naive model: at every rest, the lock agrees with the model.

By rule C1 the state at rest depends only on which requests are live and in which order they came.
So a schedule starts, finishes and cancels several requests before it looks, and what the event loop
did in between must not matter. There is one event loop and no clock, so a seed determines a
schedule.

``TREELOCK_RANDOM_ROUNDS`` sets how many seeds there are for each kind of node.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PosixPath, PurePosixPath
from typing import Any

import pytest
from treelock import Blocked, LockTimeout, Root, TreeLock

from model import Claim, Model, Place, conflict

ROUNDS = int(os.environ.get("TREELOCK_RANDOM_ROUNDS", "25"))
STEPS = 100
MOST_LIVE = 10
TURNS_TO_REST = 6  # a finish needs one to be seen and one more to wake those behind it


class Shuffled:
    """A node in pure Python, whose ancestors come in random order and only once, from an iterator.
    """

    def __init__(self, place: Place, rng: random.Random) -> None:
        self.place = place
        self._rng = rng

    @property
    def parents(self) -> Iterable[Shuffled]:
        above = [Shuffled(self.place[:depth], self._rng) for depth in range(1, len(self.place))]
        self._rng.shuffle(above)
        return iter(above)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shuffled) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __str__(self) -> str:
        return ":".join(self.place)


class Plain(PurePosixPath):
    """A subclass that changes nothing, so it is the same node as its base."""


class OwnHash(PurePosixPath):
    """A path that says the same as its base, but by its own code."""

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


class Foreign:
    """Not a path, but equal to the path of the same place, so it is the same node."""

    def __init__(self, path: PurePosixPath) -> None:
        self.path = path

    @property
    def parents(self) -> Iterable[Foreign]:
        return [Foreign(path) for path in self.path.parents]

    def __eq__(self, other: object) -> bool:
        return self.path == (other.path if isinstance(other, Foreign) else other)

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return str(self.path)


def make_path(place: Place, rng: random.Random) -> PurePosixPath:
    """Returns a path from the root."""
    return PurePosixPath("/", *place[1:])


def make_relative(place: Place, rng: random.Random) -> PurePosixPath:
    """Returns a path of another tree, whose root is ``.``."""
    return PurePosixPath(*place[1:])


def make_any_path(place: Place, rng: random.Random) -> PurePosixPath:
    """Returns a path of any class that compares as paths do."""
    classes = [PurePosixPath, Plain, PosixPath if os.name == "posix" else PurePosixPath]
    return rng.choice(classes)("/", *place[1:])


def make_equal(place: Place, rng: random.Random) -> Any:
    """Returns a path, or something that equals it although its code is not the path's."""
    path = make_path(place, rng)
    return rng.choice([PurePosixPath, OwnHash, Foreign])(path)


def make_text(place: Place, rng: random.Random) -> str:
    """Returns one of the spellings of a place; the root has only one."""
    text = rng.choice(["/", "//"]).join(place[1:])
    return rng.choice(["/", "//", ""]) + text + rng.choice(["/", ""]) if text else "/"


def place_of(node: Any) -> Place:
    """Returns the place that a node represents, whatever its type."""
    if isinstance(node, Shuffled):
        return node.place
    if isinstance(node, str):
        return ("absolute", *(name for name in node.split("/") if name))
    path = node.path if isinstance(node, Foreign) else node
    return ("absolute", *path.parts[1:]) if path.is_absolute() else ("relative", *path.parts)


@dataclass
class Kind:
    """A kind of node: the trees that exist, and how a node of each is made."""

    trees: dict[str, Callable[[Place, random.Random], Any]]
    strings: bool = False


KINDS = {
    "paths": Kind({"absolute": make_path}),
    "shuffled": Kind({"own": Shuffled}),
    "strings": Kind({"absolute": make_text}, strings=True),
    "mixture": Kind({"absolute": make_any_path, "relative": make_relative, "own": Shuffled}),
    "equal": Kind({"absolute": make_equal}),
}


@dataclass
class Person:
    """A visitor that requests the lock, in a task or (by a try) without one."""

    name: str
    claims: list[Claim]
    manager: Any
    task: asyncio.Task[None] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False


class Broken(Exception):
    """The exception that a body raises."""


class Round:
    """One schedule, played on a lock and on the model side by side."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind = kind
        self.rng = random.Random(seed)
        self.lock = TreeLock(strings=kind.strings)
        self.model = Model()
        self.count = 0
        self.people: dict[str, Person] = {}
        self.inside: dict[str, Person] = {}
        self.leaving: list[Person] = []
        self.idle: list[Person] = []
        self.schedule: list[str] = []

    async def play(self) -> None:
        """Takes some steps at a time, each a few turns after the other, then rests and looks."""
        for _ in range(STEPS):
            for _ in range(self.rng.randint(1, 3)):
                self._step()
                await self._turn(self.rng.choice([0, 0, 1, 2]))
            await self._rest()
            if self.rng.random() < 0.5:
                await self._try()
        while self.people:
            self._leave(self.rng.choice(list(self.people.values())))
            await self._rest()
        assert not self.lock.locked() and not self.lock.snapshot()

    def _step(self) -> None:
        crowd = len(self.people) / MOST_LIVE
        if self.rng.random() < 0.9 - 0.7 * crowd:
            return self._enter()
        if self.people:
            self._leave(self.rng.choice(list(self.people.values())))

    def _enter(self) -> None:
        person = self._returning() if self.idle and self.rng.random() < 0.2 else self._new(None)
        person.task = asyncio.create_task(self._visit(person))
        self.people[person.name] = person
        self.model.ask(person.name, person.claims)
        self._note("enter", person)

    async def _visit(self, person: Person) -> None:
        async with person.manager:
            self._go_in(person)
            try:
                await person.done.wait()
                if person.fails:
                    raise Broken
            finally:
                del self.inside[person.name]

    def _go_in(self, person: Person) -> None:
        """Records who is inside. This alone would detect a conflict, even between rests."""
        for other in self.inside.values():
            assert not conflict(person.claims, other.claims), f"{person.name} meets {other.name}"
        self.inside[person.name] = person

    def _leave(self, person: Person) -> None:
        """A visitor inside finishes or is cancelled; one in line can only be cancelled."""
        del self.people[person.name]
        self.model.leave(person.name)
        if person.task is None:
            self._note("release", person)
            del self.inside[person.name]
            person.manager.release()
        elif person.name in self.inside and self.rng.random() < 0.7:
            person.fails = self.rng.random() < 0.2
            self._note("fail" if person.fails else "finish", person)
            person.done.set()
            self.leaving.append(person)
        else:
            times = self.rng.choice([1, 1, 2])
            self._note(f"cancel x{times}", person)
            for _ in range(times):
                person.task.cancel()
            self.leaving.append(person)

    async def _try(self) -> None:
        """A visitor tries for the lock, and must learn what the model says."""
        person = self._new(timeout=0)
        blockers = self.model.blockers(person.claims)
        self._note("try", person)
        ways = [self._try_acquire, self._try_with, self._try_async_with]
        blocked = await self.rng.choice(ways)(person)
        if isinstance(blocked, Blocked):
            first = blockers[0] if blockers else None
            assert first is not None, f"{person.name} waits for nothing"
            assert (blocked.label, blocked.ahead) == (first.name, len(blockers))
            assert blocked.state == ("held" if first.held else "waiting")
            assert claim_of(blocked.wanted) in person.claims
            assert claim_of(blocked.blocker) in first.claims
            assert conflict([claim_of(blocked.wanted)], [claim_of(blocked.blocker)])
        else:
            assert blocked == bool(blockers), f"{person.name} was granted: {not blocked}"
        self._look()

    async def _try_acquire(self, person: Person) -> bool:
        if not person.manager.acquire(blocking=False):
            return True
        self.people[person.name] = person
        self._go_in(person)
        self.model.ask(person.name, person.claims)
        return False

    async def _try_with(self, person: Person) -> bool | Blocked:
        try:
            with person.manager:
                self._visit_at_once(person)
        except LockTimeout as error:
            return error.blocked
        return False

    async def _try_async_with(self, person: Person) -> bool | Blocked:
        try:
            async with person.manager:
                self._visit_at_once(person)
        except LockTimeout as error:
            return error.blocked
        return False

    def _visit_at_once(self, person: Person) -> None:
        self._go_in(person)
        self.model.ask(person.name, person.claims)
        self._look()
        self.model.leave(person.name)
        del self.inside[person.name]

    async def _rest(self) -> None:
        """Lets everything happen that is going to happen, then looks."""
        await self._turn(TURNS_TO_REST)
        for person in self.leaving:
            assert person.task is not None and person.task.done(), f"{person.name} has not left"
            self._ended_well(person)
        for person in self.people.values():
            if person.task is not None and person.task.done():
                self._ended_well(person)
                raise AssertionError(f"{person.name} left by itself")
        self.idle += self.leaving
        self.leaving = []
        self._look()

    def _ended_well(self, person: Person) -> None:
        if person.task is not None and not person.task.cancelled():
            error = person.task.exception()
            if error is not None and not (person.fails and isinstance(error, Broken)):
                raise error

    def _look(self) -> None:
        """Compares what the lock does and what it reports with the model."""
        assert set(self.inside) == self.model.held()
        snapshot = self.lock.snapshot()
        label = {entry.ticket: entry.label for entry in snapshot}
        shown = [
            (
                entry.label,
                {claim_of(root) for root in entry.roots},
                entry.state,
                None if entry.waits_for is None else label[entry.waits_for],
            )
            for entry in snapshot
        ]
        expected = [
            (
                live.name,
                set(live.claims),
                "held" if live.held else "waiting",
                self.model.waits_for(index),
            )
            for index, live in enumerate(self.model.live)
        ]
        assert shown == expected
        assert [*label] == sorted(label), "the earliest comes first"
        assert self.lock.locked() == bool(self.inside)

    def _new(self, timeout: float | None) -> Person:
        self.count += 1
        claims = [self._claim() for _ in range(self.rng.randint(1, 3))]
        read, write = (self._roots(claims, access) for access in ("read", "write"))
        manager = self.lock(read, write, timeout=timeout, label=str(self.count))
        return Person(str(self.count), claims, manager)

    def _returning(self) -> Person:
        """Makes an earlier visitor come again, with the same context manager."""
        person = self.idle.pop(self.rng.randrange(len(self.idle)))
        return Person(person.name, person.claims, person.manager)

    def _claim(self) -> Claim:
        """Usually somewhere in a tree of depth 3 with two names; rarely all of it."""
        depth = self.rng.choice([0, 1, 2, 2, 3, 3, 3])
        names = (self.rng.choice("ab") for _ in range(depth))
        tree = self.rng.choice(list(self.kind.trees))
        return Claim(self.rng.choice(["read", "read", "write"]), (tree, *names))

    def _roots(self, claims: list[Claim], access: str) -> Iterable[Any]:
        places = [claim.place for claim in claims if claim.access == access]
        roots = [self.kind.trees[place[0]](place, self.rng) for place in places]
        kinds: list[Callable[[list[Any]], Iterable[Any]]] = [list, tuple, set, iter]
        return self.rng.choice(kinds)(roots)

    def give_up(self) -> None:
        """After a failure: leaves nothing that would complain when it is collected."""
        for person in (*self.people.values(), *self.leaving):
            if person.task is None and person.manager.locked():
                person.manager.release()
            if person.task is not None and person.task.done() and not person.task.cancelled():
                person.task.exception()

    def _note(self, verb: str, person: Person) -> None:
        roots = (f"{access} {'/'.join(place)}" for access, place in person.claims)
        self.schedule.append(f"{verb} {person.name}: {', '.join(roots)}")

    async def _turn(self, times: int) -> None:
        self.schedule += [f"  {times} turns"] * bool(times)
        for _ in range(times):
            await asyncio.sleep(0)


def claim_of(root: Root) -> Claim:
    """Converts a root as the lock shows it to the terms of the model."""
    return Claim(root.access, place_of(root.node))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_random_schedule(kind: str, seed: int) -> None:
    """Whatever happens in whatever order, those inside are those that the rule grants."""
    game = Round(KINDS[kind], seed)
    try:
        asyncio.run(game.play())
    except Exception as error:
        game.give_up()
        schedule = "\n".join(game.schedule)
        raise AssertionError(f"{error!r}\nwith {kind}, seed {seed}:\n{schedule}") from error


def test_the_schedules_are_full_of_conflicts() -> None:
    """A test of the test: if nothing were ever in line, the schedules would prove nothing."""
    counts = []

    class Counting(Round):
        def _look(self) -> None:
            super()._look()
            counts.append(len(self.model.live) - len(self.model.held()))

    asyncio.run(Counting(KINDS["paths"], seed=0).play())
    assert sum(counts) > len(counts)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("read a", "read a", False),
        ("read a", "write a", True),
        ("write a", "write a", True),
        ("read a", "write a/b", True),
        ("write a", "read a/b", True),
        ("write a/b", "read a", True),
        ("write a/b", "write a/c", False),
        ("write a", "write ab", False),
        ("read a", "read a/b", False),
    ],
)
def test_the_judge_knows_a_conflict(one: str, other: str, expected: bool) -> None:
    """The definition in CONTRACT.md, case by case."""

    def claims(text: str) -> list[Claim]:
        access, path = text.split()
        return [Claim(access, tuple(path.split("/")))]

    assert conflict(claims(one), claims(other)) is expected
    assert conflict(claims(other), claims(one)) is expected
