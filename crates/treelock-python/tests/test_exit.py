"""The end of a process that holds locks or waits for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from processes import ends_without_a_crash, prints, python

EXITS = {
    "held": "holder.acquire()",
    "held in an attribute of the lock": """
        lock.me = holder
        holder.acquire()
    """,
    "held in a reference cycle": """
        cycle = [holder]
        cycle.append(cycle)
        holder.acquire()
        del holder, cycle
    """,
    "held, and exit by an exception that is caught": """
        holder.acquire()
        sys.exit(0)
    """,
    "entered by a task and never left": """
        async def main():
            await holder.__aenter__()
            return lock(read=[Path("/templates")]).__aenter__()

        never_awaited = asyncio.run(main())
    """,
    "a coroutine that waits": """
        async def wait():
            async with lock(write=[PHOTOS]):
                pass

        async def main():
            waiting.send(None)

        holder.acquire()
        waiting = wait()
        asyncio.run(main())
    """,
    "a task that waits": """
        async def wait():
            asyncio.current_task()._log_destroy_pending = False
            async with lock(write=[PHOTOS], timeout=50):
                pass

        holder.acquire()
        loop = asyncio.new_event_loop()
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0.01))
        assert len(lock.snapshot().waiting) == 1
    """,
    "exit from a task while others wait": """
        async def wait():
            async with lock(write=[PHOTOS]):
                pass

        async def main():
            tasks = [asyncio.create_task(wait()) for _ in range(10)]
            await asyncio.sleep(0.01)
            sys.exit(0)

        holder.acquire()
        asyncio.run(main())
    """,
    "daemon threads that wait": """
        def wait(**timeout):
            with lock(write=[PHOTOS], **timeout):
                time.sleep(0.001)

        holder.acquire()
        for timeout in [{}, {}, {"timeout": 50}]:
            threading.Thread(target=wait, kwargs=timeout, daemon=True).start()
        while len(lock.snapshot().waiting) < 3:
            time.sleep(0.001)
    """,
    "daemon threads that are woken by the exit": """
        def wait():
            with lock(write=[PHOTOS]):
                time.sleep(0.001)

        holder.acquire()
        for _ in range(5):
            threading.Thread(target=wait, daemon=True).start()
        while len(lock.snapshot().waiting) < 5:
            time.sleep(0.001)
        holder.release()
    """,
    "daemon threads whose time ends while modules are torn down": """
        class Slow:
            def __del__(self, sleep=time.sleep, write=os.write):
                sleep(0.3)
                write(1, b"slow")

        def wait(timeout):
            with lock(write=[PHOTOS], timeout=timeout):
                pass

        sys.slow = Slow()  # lives until after the modules
        holder.acquire()
        for number in range(5):
            threading.Thread(target=wait, args=[0.1 + number / 20], daemon=True).start()
        while len(lock.snapshot().waiting) < 5:
            time.sleep(0.001)
    """,
    "daemon threads that are granted while modules are torn down": """
        class Slow:
            def __init__(self, held):
                self.held = held

            def __del__(self, sleep=time.sleep, write=os.write):
                self.held.release()
                sleep(0.2)
                write(1, b"slow")

        def wait():
            with lock(write=[PHOTOS]):
                pass

        holder.acquire()
        sys.slow = Slow(holder)
        for _ in range(5):
            threading.Thread(target=wait, daemon=True).start()
        while len(lock.snapshot().waiting) < 5:
            time.sleep(0.001)
    """,
    "daemon threads that enter and leave all the time": """
        def busy():
            manager = lock(write=[PHOTOS])
            while True:
                with manager:
                    pass

        for _ in range(3):
            threading.Thread(target=busy, daemon=True).start()
        time.sleep(0.05)
    """,
    "a daemon thread with a loop and tasks that wait": """
        async def wait():
            async with lock(write=[PHOTOS], timeout=50):
                pass

        async def main():
            await asyncio.gather(*(wait() for _ in range(5)))

        holder.acquire()
        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        while len(lock.snapshot().waiting) < 5:
            time.sleep(0.001)
        # Until the loop sleeps. Up to Python 3.13, a daemon thread that comes back to the
        # interpreter after its end is unwound, and that aborts where Rust has called Python.
        time.sleep(0.1)
    """,
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_is_silent(name: str) -> None:
    """Whatever is held or waited for, the process ends, and prints nothing by default."""
    prints(EXITS[name], "slow" if "Slow" in EXITS[name] else "")


@pytest.mark.parametrize("name", EXITS)
def test_exit_is_no_crash_for_developers(name: str) -> None:
    """Warnings are then shown, as they should be; and turned into errors, which cannot be raised.
    """
    ends_without_a_crash(EXITS[name], "-X", "dev", "-W", "error::ResourceWarning")


def test_a_held_lock_is_reported_to_developers() -> None:
    """Like an open file."""
    script = """
        holder.acquire()
        del holder
        gc.collect()
    """
    result = python(script, "-X", "dev")
    assert result.returncode == 0
    assert "ResourceWarning" in result.stderr and "/photos" in result.stderr


def test_what_is_held_at_exit_is_no_mistake() -> None:
    script = (
        "import sys, pathlib, treelock; lock = treelock.TreeLock(); "
        "holder = lock(write=[pathlib.PurePosixPath('/photos')]); holder.acquire()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
