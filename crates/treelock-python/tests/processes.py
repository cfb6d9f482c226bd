"""Scripts that run in their own interpreter, judged by exit code and output."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

LONG_SECONDS = 60
"""No script takes as long as this, unless it hangs."""
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
PREAMBLE = """\
import asyncio, gc, os, signal, sys, threading, time
from pathlib import PurePosixPath as Path
from treelock import LockTimeout, TreeLock

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
lock = TreeLock()
PHOTOS = Path("/photos")

def when_waiting(act, count=1):
    # Starts a thread that acts as soon as a request waits. If none does, it ends the process.
    def watch():
        for _ in range(60_000):
            if len(lock.snapshot().waiting) >= count:
                time.sleep(0.01)  # until the waiter is really asleep, which no test depends on
                return act()
            time.sleep(0.001)
        os._exit(99)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def check_intact():
    # Nothing waits, the holder still holds, and the lock keeps working.
    assert len(lock.snapshot()) == 1, lock.snapshot()
    assert lock(write=[PHOTOS]).acquire(blocking=False) is False
    holder.release()
    with lock(write=[PHOTOS], timeout=0):
        pass
    assert len(lock.snapshot()) == 0
    print("intact")

holder = lock(write=[PHOTOS], label="holder")
"""


def python(
    script: str, *options: str, preamble: str = PREAMBLE
) -> subprocess.CompletedProcess[str]:
    """Runs a script in a new interpreter, without the environment's settings about warnings."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONUNBUFFERED")
    }
    return subprocess.run(
        [sys.executable, *options, "-c", preamble + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        env=environment,
    )


def prints(script: str, expected: str, *options: str, preamble: str = PREAMBLE) -> None:
    """Runs a script, which must succeed, print what is expected, and report no errors."""
    result = python(script, *options, preamble=preamble)
    shown = (result.returncode, result.stdout.split(), result.stderr)
    assert shown == (0, expected.split(), "")


def ends_without_a_crash(script: str, *options: str) -> None:
    """Runs a script that may warn about what it leaves, but nothing worse."""
    result = python(script, *options)
    assert result.returncode == 0, result.stderr
    for trouble in ("panicked", "Fatal", "FATAL", "SystemError", "Segmentation", "thread '"):
        assert trouble not in result.stderr
