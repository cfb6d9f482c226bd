"""The native part of the package."""

from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any

from treelock._values import Node, Snapshot

__version__: str

class TreeLock:
    """A lock over all sub-trees of a tree: shared or exclusive, several at once, in one request.

    A request waits exactly for the earlier live requests that conflict with it, and is granted as
    soon as there are none. Two requests conflict iff some root of one is, or lies above or below,
    some root of the other, and at least one of these two is a write. So the lock is fair, never
    waits for what is not in its way, and requests cannot deadlock one another.

    It is not re-entrant: a holder that asks for more that conflicts with what it holds waits for
    itself. Ask for everything in one request.

    One lock serves any number of tasks, event loops and threads at the same time. With
    ``strings=True`` its nodes are strings, split at ``/``, where ``'/a/b'``, ``'a/b'`` and
    ``'a//b/'`` are one node and ``'/'`` is the root of all.

    >>> lock = TreeLock()
    >>> lock
    <treelock.TreeLock object at 0x... [unlocked]>
    """

    def __init__(self, *, strings: bool = False) -> None: ...
    def __call__(
        self,
        read: Iterable[Node | str] = (),
        write: Iterable[Node | str] = (),
        *,
        timeout: float | None = None,
        label: str | None = None,
    ) -> TreeLockContextManager:
        """Returns a context manager for ``async with`` and ``with``.

        Reads (shares) the sub-trees below the nodes in ``read``, and writes (has alone) those below
        the nodes in ``write``; each node is part of its own sub-tree.

        Looks at nothing and acquires nothing: wrong arguments raise when the context manager is
        entered. ``timeout`` is in seconds: with 0 the lock is granted at once or not at all, and
        without one the wait has no end. ``label`` names the request in messages and snapshots.

        >>> lock = TreeLock()
        >>> copy = lock(read=[PurePosixPath('/a')], write=[PurePosixPath('/b')], timeout=5)
        """
    def locked(self) -> bool:
        """Returns whether anything is held.

        >>> TreeLock().locked()
        False
        """
    def snapshot(self) -> Snapshot:
        """Returns all live requests at one moment: who holds, and who waits for whom.

        >>> lock = TreeLock()
        >>> with lock(write=[PurePosixPath('/photos')], label='import-7'):
        ...     print(lock.snapshot())
        ticket  state         age  waits for  label     roots
             1  held         0.0s             import-7  write /photos
        """

class TreeLockContextManager:
    """What a ``TreeLock`` returns when it is called: one request, to be entered once or often.

    ``async with`` waits in the event loop. ``with`` blocks the thread; in a thread whose event loop
    runs, it gets the lock at once or raises ``RuntimeError``. Several tasks and threads may use one
    context manager at the same time; if they change its lists meanwhile, each should leave in the
    task that entered. The roots are read again each time, except those that came from an iterator,
    which can be read only once, and by one thread: give a list where several begin at once.

    Raises, when it is entered, ``LockTimeout`` if the time is over, ``TypeError`` or
    ``AttributeError`` for what is not a node, ``ValueError`` for a string or a timeout without a
    meaning, and whatever the code of a node raises. Then nothing is locked.

    A task may be cancelled at any point: what it had is given back. An exception in the body
    releases the lock. A context manager that is collected while it holds releases too, with a
    ``ResourceWarning``.
    """

    def __aenter__(self) -> Coroutine[Any, Any, None]:
        """Returns an awaitable that acquires the lock. Nothing happens before its first step."""
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[Any, Any, None]:
        """Releases the lock at once; there is nothing to wait for. Silent if it is not held."""
    def __enter__(self) -> None:
        """Acquires the lock, blocking the thread. Ctrl-C gets through."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Releases the lock. Silent if it is not held."""
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquires the lock, blocking the thread. Returns whether it was granted.

        Works as ``threading.Lock.acquire`` does: with ``blocking=False`` it does not wait, and
        ``timeout`` is in seconds. With -1 the ``timeout`` of the context manager counts.

        >>> photos = TreeLock()(write=[PurePosixPath('/photos')])
        >>> photos.acquire(), photos.acquire(blocking=False)
        (True, False)
        >>> photos.release()
        """
    def release(self) -> None:
        """Releases the lock. Raises ``RuntimeError`` if this context manager does not hold it.

        >>> TreeLock()().release()
        Traceback (most recent call last):
        ...
        RuntimeError: release of a lock that is not held
        """
    def locked(self) -> bool:
        """Returns whether this context manager holds its lock.

        >>> TreeLock()().locked()
        False
        """
