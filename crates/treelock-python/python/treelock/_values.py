"""What the lock shows of itself: plain values that do not change later."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Up to Python 3.10 asyncio has its own class; code that catches either one catches ours.
if sys.version_info >= (3, 11):
    _TimeoutError = TimeoutError
else:

    class _TimeoutError(TimeoutError, asyncio.TimeoutError): ...


Access = Literal["read", "write"]
State = Literal["held", "waiting"]


class Node(Protocol):
    """What can be locked: a place in a tree that knows its ancestors.

    Every pure path of ``pathlib`` is a node, and so is any object that can be hashed and compared
    and has ``parents``.
    """

    @property
    def parents(self) -> Iterable[Any]:
        """The ancestors of the node, in any order, without the node itself."""

    def __hash__(self) -> int: ...


class Root(NamedTuple):
    """A root of a request: a sub-tree, and what is done with it."""

    access: Access
    """``'read'`` (shared) or ``'write'`` (exclusive)."""
    node: Any
    """A node equal to the one that was given."""


class Entry(NamedTuple):
    """A live request in a :class:`Snapshot`."""

    ticket: int
    """The place in the order of arrival; lower is earlier. One lock never uses a number twice."""
    state: State
    """``'held'`` or ``'waiting'``."""
    age: float
    """How many seconds it has been in this state, to a few milliseconds."""
    label: str | None
    """The label of the request, if ``label=`` was given."""
    roots: tuple[Root, ...]
    """The roots as they were given."""
    waits_for: int | None
    """The ticket of the earliest request that this one waits for, or ``None`` if it is held."""


@dataclass(frozen=True)
class Snapshot:
    """All live requests of a lock at one moment, the earliest first.

    ``str()`` gives a table with one row per request::

        ticket  state         age  waits for  label     roots
             1  held         3.2s             agent-7   write /photos/2025
             4  waiting      1.1s         #1  agent-9   write /photos

    Iterating gives the entries; ``len()`` counts them.
    """

    entries: tuple[Entry, ...]
    """The live requests, held and waiting."""
    _table: str

    @property
    def held(self) -> tuple[Entry, ...]:
        """The requests that hold their locks."""
        return tuple(entry for entry in self.entries if entry.state == "held")

    @property
    def waiting(self) -> tuple[Entry, ...]:
        """The requests in line, the earliest first."""
        return tuple(entry for entry in self.entries if entry.state == "waiting")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return self._table

    def __repr__(self) -> str:
        return f"Snapshot({list(self.entries)!r})"


class Blocked(NamedTuple):
    """The request that is in the way of a request that was not granted.

    The blocker is the earliest live request that conflicts: it has to be released first.
    """

    wanted: Root
    """The requested root that conflicts; the first, if there are several."""
    blocker: Root
    """The blocker's conflicting root."""
    label: str | None
    """The blocker's label."""
    ticket: int
    """The blocker's ticket, as in a :class:`Snapshot`."""
    state: State
    """Whether the blocker holds its lock or is itself waiting."""
    age: float
    """How many seconds the blocker has been in this state, to a few milliseconds."""
    ahead: int
    """How many earlier live requests conflict, including the blocker."""


class LockTimeout(_TimeoutError):
    """The lock was not granted in time. The message says what is in the way.

    The failed request leaves nothing behind in the lock.

    >>> from pathlib import PurePosixPath
    >>> lock = TreeLock()
    >>> with lock(write=[PurePosixPath('/photos/x')], label='copy'):
    ...     with lock(read=[PurePosixPath('/photos')], timeout=0):
    ...         pass
    Traceback (most recent call last):
    ...
    treelock.LockTimeout: read /photos is blocked by "copy": write /photos/x, held for 0.0s; 1 ahead
    """

    blocked: Blocked
    """What was in the way when the time was up."""

    def __init__(self, message: str, blocked: Blocked) -> None:
        super().__init__(message)
        self.blocked = blocked

    def __reduce__(self) -> tuple[type[LockTimeout], tuple[str, Blocked]]:
        return type(self), (self.args[0], self.blocked)


class NodeTypeError(TypeError, AttributeError):
    """The argument is not a node, such as a string, whose characters are not meant as nodes.

    It is also an ``AttributeError``, which is what the package ``treelock`` raises here.
    """
