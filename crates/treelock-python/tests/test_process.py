"""Whole processes: Ctrl-C, exit with locks held or waited for, fork, sub-interpreters, import.

What is tested here happens where nothing can be caught, so each script runs in an interpreter of
its own, and is judged by its exit code and by what it prints.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PATIENCE = 60

posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

PREAMBLE = """\
import asyncio, gc, os, signal, sys, threading, time
from pathlib import PurePosixPath as Path
from treelock import LockTimeout, TreeLock

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
lock = TreeLock()
PHOTOS = Path("/photos")

def when_waiting(act, count=1):
    # A thread that acts as soon as somebody waits. If nobody does, it ends the process.
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
    # Nobody waits, whoever held still holds, and the lock goes on working.
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
    """Runs a script in a new interpreter, without what the environment says about warnings."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONUNBUFFERED")
    }
    return subprocess.run(
        [sys.executable, *options, "-c", preamble + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment,
    )


def prints(script: str, expected: str, *options: str, preamble: str = PREAMBLE) -> None:
    """Runs a script, which must end well, print what is expected, and complain about nothing."""
    result = python(script, *options, preamble=preamble)
    shown = (result.returncode, result.stdout.split(), result.stderr)
    assert shown == (0, expected.split(), "")


def ends_without_a_crash(script: str, *options: str) -> None:
    """Runs a script that may warn of what it leaves, but nothing worse."""
    result = python(script, *options)
    assert result.returncode == 0, result.stderr
    for trouble in ("panicked", "Fatal", "FATAL", "SystemError", "Segmentation", "thread '"):
        assert trouble not in result.stderr


# Ctrl-C


@posix
@pytest.mark.parametrize("timeout", ["None", "50", "1e6"])
def test_ctrl_c_gets_through_to_a_waiting_thread(timeout: str) -> None:
    """Also in a wait that has an end, and more than once."""
    script = f"""
        holder.acquire()
        for _ in range(3):
            watcher = when_waiting(interrupt)
            try:
                with lock(write=[PHOTOS], timeout={timeout}):
                    print("granted")
            except KeyboardInterrupt:
                print("interrupted")
            watcher.join()
        check_intact()
    """
    prints(script, "interrupted interrupted interrupted intact")


@posix
@pytest.mark.parametrize("arguments", ["", "timeout=50", "True, -1"])
def test_ctrl_c_gets_through_acquire(arguments: str) -> None:
    """It is no ``False``."""
    script = f"""
        holder.acquire()
        when_waiting(interrupt)
        try:
            print(lock(write=[PHOTOS]).acquire({arguments}))
        except KeyboardInterrupt:
            print("interrupted")
        check_intact()
    """
    prints(script, "interrupted intact")


@posix
def test_ctrl_c_ends_a_process_that_waits() -> None:
    """Nobody catches it: the process ends as Python ends then, by the signal."""
    result = python(
        """
        holder.acquire()
        when_waiting(interrupt)
        with lock(write=[PHOTOS]):
            print("granted")
        """
    )
    assert result.returncode == -signal.SIGINT
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "panicked" not in result.stderr


@posix
def test_ctrl_c_lets_those_behind_go() -> None:
    """The writer who is interrupted was all that a reader behind it waited for."""
    script = """
        holder = lock(read=[PHOTOS])
        holder.acquire()

        def read():
            with lock(read=[PHOTOS]):
                print("read")

        reader = threading.Thread(target=read)

        def act():
            reader.start()
            when_waiting(interrupt, count=2)

        when_waiting(act)
        try:
            with lock(write=[PHOTOS]):
                print("granted")
        except KeyboardInterrupt:
            reader.join()
        check_intact()
    """
    prints(script, "read intact")


@posix
def test_a_signal_that_raises_nothing_does_not_end_the_wait() -> None:
    """The handler runs at once, may use the lock itself, and the wait goes on."""
    script = """
        calls = []

        def handle(number, frame):
            calls.append(number)
            assert lock(read=[PHOTOS]).acquire(blocking=False) is False
            if len(calls) == 3:
                holder.release()

        def act():
            os.kill(os.getpid(), signal.SIGUSR1)
            if len(calls) < 3:
                when_waiting(act)

        signal.signal(signal.SIGUSR1, handle)
        holder.acquire()
        when_waiting(act)
        with lock(write=[PHOTOS], timeout=50):
            print("granted", len(calls) >= 3)
    """
    prints(script, "granted True")


@posix
def test_a_signal_does_not_lengthen_a_wait() -> None:
    """Signals come again and again, and the time ends all the same."""
    script = """
        over = threading.Event()

        def pester():
            while not over.wait(0.01):
                os.kill(os.getpid(), signal.SIGUSR1)

        signal.signal(signal.SIGUSR1, lambda *_: None)
        holder.acquire()
        thread = threading.Thread(target=pester)
        thread.start()
        try:
            with lock(write=[PHOTOS], timeout=0.2):
                print("granted")
        except LockTimeout:
            print("timeout")
        over.set()
        thread.join()
        check_intact()
    """
    prints(script, "timeout intact")


@posix
def test_ctrl_c_gets_through_asyncio_run() -> None:
    """As anywhere in asyncio; the task is cancelled and leaves the line."""
    script = """
        async def main():
            async with lock(write=[PHOTOS]):
                print("granted")

        holder.acquire()
        when_waiting(interrupt)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        check_intact()
    """
    prints(script, "interrupted intact")


@posix
def test_ctrl_c_in_the_body_releases() -> None:
    """With either kind of ``with``."""
    script = """
        async def main():
            async with lock(write=[PHOTOS]):
                interrupt()
                await asyncio.sleep(50)

        for _ in range(2):
            try:
                with lock(write=[PHOTOS]):
                    interrupt()
                    time.sleep(50)
            except KeyboardInterrupt:
                print("interrupted", lock.locked())
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted", lock.locked())
    """
    prints(script, "interrupted False " * 4)


# Exit

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
    """Whatever is held or waited for, the process ends, and says nothing by default."""
    prints(EXITS[name], "slow" if "Slow" in EXITS[name] else "")


@pytest.mark.parametrize("name", EXITS)
def test_exit_is_no_crash_for_developers(name: str) -> None:
    """Warnings are shown then, as they should be; and made errors, which cannot be raised."""
    ends_without_a_crash(EXITS[name], "-X", "dev", "-W", "error::ResourceWarning")


def test_a_held_lock_is_reported_to_developers() -> None:
    """As an open file is."""
    script = """
        holder.acquire()
        del holder
        gc.collect()
    """
    result = python(script, "-X", "dev")
    assert result.returncode == 0
    assert "ResourceWarning" in result.stderr and "/photos" in result.stderr


# Fork

FORK = """
    def in_child(check):
        # Runs a check in a child that ends as a process does; says how it ended.
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            check()
            sys.exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@needs_fork
def test_fork_while_held() -> None:
    """The child has a lock of its own, in the same state; what it does is nothing to the parent."""
    script = (
        FORK
        + """
    def check():
        assert lock.locked() and holder.locked()
        assert lock(read=[PHOTOS]).acquire(blocking=False) is False
        holder.release()
        with lock(write=[PHOTOS], timeout=0):
            print("child")

    holder.acquire()
    assert in_child(check) == 0
    assert lock.locked()
    check_intact()
    """
    )
    prints(script, "child intact")


@needs_fork
def test_fork_while_held_and_nothing_more() -> None:
    """The child ends at once, by either way."""
    script = (
        FORK
        + """
    holder.acquire()
    print(in_child(lambda: None))
    print(in_child(lambda: os._exit(0)))
    check_intact()
    """
    )
    prints(script, "0 0 intact")


@needs_fork
def test_fork_while_a_thread_waits() -> None:
    """The waiting thread is not in the child. Python 3.12 warns of such forks, for good reasons."""
    script = (
        FORK
        + """
    def wait():
        with lock(write=[PHOTOS]):
            print("parent")

    thread = threading.Thread(target=wait)
    holder.acquire()
    thread.start()
    while not lock.snapshot().waiting:
        time.sleep(0.001)
    print(in_child(lambda: None))
    holder.release()
    thread.join()
    assert len(lock.snapshot()) == 0
    """
    )
    prints(script, "0 parent", "-W", "ignore::DeprecationWarning")


@needs_fork
def test_fork_in_a_loop_while_a_task_waits() -> None:
    """The task is in the child too, but its loop does not run there."""
    script = (
        FORK
        + """
    async def wait():
        async with lock(write=[PHOTOS]):
            print("parent")

    async def main():
        async with lock(write=[PHOTOS]):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
            print(in_child(lambda: os._exit(0)))
        await task

    asyncio.run(main())
    """
    )
    prints(script, "0 parent", "-W", "ignore::DeprecationWarning")


# Sub-interpreters

IN_A_SUB_INTERPRETER = '''
    CODE = """if True:
        try:
            from treelock import TreeLock
        except ImportError:
            print("refused", flush=True)
        else:
            from pathlib import PurePosixPath
            lock = TreeLock()
            with lock(write=[PurePosixPath("/photos")]):
                assert lock.locked()
            assert not lock.locked()
            held = lock(write=[PurePosixPath("/photos")])
            held.acquire()
            print("works", flush=True)
    """

    def run():
        try:
            import _interpreters as interpreters
        except ImportError:
            try:
                import _xxsubinterpreters as interpreters
            except ImportError:
                print("none", flush=True)
                return
        number = interpreters.create()
        error = interpreters.run_string(number, CODE)
        assert error is None, error
        interpreters.destroy(number)
'''


@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "not imported before"])
def test_sub_interpreters(imported: bool) -> None:
    """Each works, or refuses the import; none crashes, and the main interpreter goes on."""
    script = textwrap.dedent(IN_A_SUB_INTERPRETER) + textwrap.dedent(
        """
        run()
        run()
        from treelock import TreeLock
        with TreeLock()():
            print("main")
        """
    )
    result = python(script, preamble=PREAMBLE if imported else "")
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    *answers, main = result.stdout.split()
    if "none" in answers:
        pytest.skip("this Python has no sub-interpreters")
    assert main == "main"
    assert len(answers) == 2 and set(answers) <= {"works", "refused"}


# Import


@pytest.mark.parametrize(
    "options", [[], ["-W", "error"], ["-X", "dev", "-W", "error"], ["-OO"], ["-I"], ["-b", "-b"]]
)
def test_import_is_silent(options: list[str]) -> None:
    """Nothing is printed, and no warning is hidden."""
    if "-I" in options and "PYTHONPATH" in os.environ:
        pytest.skip("the package is found by PYTHONPATH, which -I ignores")
    prints("import treelock", "", *options, preamble="")


def test_import_starts_no_thread() -> None:
    """Nor is asyncio's loop made; a lock can be made before a fork."""
    script = """
        import threading, treelock
        treelock.TreeLock()
        print(threading.active_count())
    """
    prints(script, "1", preamble="")


def test_import_again_after_removal_from_modules() -> None:
    """As test runners do. It may be refused, but must not crash."""
    script = """
        for name in [name for name in sys.modules if name.startswith("treelock")]:
            del sys.modules[name]
        holder.acquire()
        try:
            import treelock
        except ImportError:
            pass
        else:
            with treelock.TreeLock()(write=[PHOTOS]):
                pass
        check_intact()
    """
    prints(script, "intact")
