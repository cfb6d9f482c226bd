"""Read/write locks on whole sub-trees, for asyncio and threads.

>>> from pathlib import PurePosixPath as Path
>>> from treelock import TreeLock
>>> lock = TreeLock()
>>> async def rename(source, target):
...     async with lock(read=[], write=[source, target]):
...         ...  # no one else is anywhere below source or target

A drop-in replacement for the package ``treelock``. For the full documentation, see
https://github.com/treelock/treelock/tree/main/crates/treelock-python
"""

from treelock._treelock import TreeLock, TreeLockContextManager, __version__
from treelock._values import (
    Blocked,
    Entry,
    LockTimeout,
    Node,
    NodeTypeError,
    Root,
    Snapshot,
)

__all__ = [
    "Blocked",
    "Entry",
    "LockTimeout",
    "Node",
    "NodeTypeError",
    "Root",
    "Snapshot",
    "TreeLock",
    "TreeLockContextManager",
    "__version__",
]

for _name in __all__:  # users see the package, not its modules
    _value = globals()[_name]
    if isinstance(_value, type):
        _value.__module__ = "treelock"
del _name, _value
