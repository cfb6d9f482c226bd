"""The native part of the package."""

from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any

from treelock._values import Node, Snapshot

__version__: str

class TreeLock:
    """A lock over all sub-trees of one tree. One request can take several, shared or exclusive.

    A request waits exactly for the earlier live requests that conflict with it, and is granted as
    soon as there are none. Two requests conflict iff a root of one equals, contains or lies within
    a root of the other, and at least one of the two is a write. So the lock is fair, never waits
    for anything that is not in its way, and requests cannot deadlock one another.

    The lock is not re-entrant: a holder that requests something that conflicts with what it already
    holds waits for itself. Request everything at once.

    One lock serves any number of tasks, event loops and threads at the same time. With
    ``strings=True`` its nodes are strings, split at ``/``: ``'/a/b'``, ``'a/b'`` and ``'a//b/'``
    are the same node, and ``'/'`` is the root of all.

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

        It reads (shares) the sub-trees below the nodes in ``read``, and writes (excludes others
        from) those below the nodes in ``write``. Each node is part of its own sub-tree.

        The call examines no arguments and acquires nothing: wrong arguments raise when the context
        manager is entered. ``timeout`` is in seconds: with 0 the lock is granted at once or not at
        all, and without one the wait is unlimited. ``label`` names the request in messages and
        snapshots.

        >>> lock = TreeLock()
        >>> copy = lock(read=[PurePosixPath('/a')], write=[PurePosixPath('/b')], timeout=5)
        """
    def locked(self) -> bool:
        """Returns whether anything is held.

        >>> TreeLock().locked()
        False
        """
    def snapshot(self) -> Snapshot:
        """Returns all live requests at one moment: which hold, and what the others wait for.

        >>> lock = TreeLock()
        >>> with lock(write=[PurePosixPath('/photos')], label='import-7'):
        ...     print(lock.snapshot())
        ticket  state         age  waits for  label     roots
             1  held         0.0s             import-7  write /photos
        """

class TreeLockContextManager:
    """The context manager that calling a ``TreeLock`` returns: one request, to enter once or often.

    ``async with`` waits in the event loop. ``with`` blocks the thread; in a thread whose event loop
    is running, it gets the lock at once or raises ``RuntimeError``. Several tasks and threads may
    use one context manager at the same time; if its lists change in the meantime, each should exit
    in the task that entered. The roots are read again each time, except those from an iterator,
    which can be read only once, and by one thread: pass a list if several start at once.

    Entering raises ``LockTimeout`` if the time is up, ``TypeError`` or ``AttributeError`` for
    anything that is not a node, ``ValueError`` for an invalid string or timeout, and whatever the
    code of a node raises. Nothing is locked then.

    A task may be cancelled at any point: whatever it had is given back. An exception in the body
    releases the lock. A context manager that is collected while it holds also releases, with a
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
        """Releases the lock at once; there is nothing to wait for. Does nothing if not held."""
    def __enter__(self) -> None:
        """Acquires the lock, blocking the thread. Ctrl-C gets through."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Releases the lock. Does nothing if it is not held."""
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquires the lock, blocking the thread. Returns whether it was granted.

        Works like ``threading.Lock.acquire``: with ``blocking=False`` it does not wait, and
        ``timeout`` is in seconds. With -1, the ``timeout`` of the context manager applies.

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
