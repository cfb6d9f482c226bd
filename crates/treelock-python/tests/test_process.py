"""Whole processes: fork, subinterpreters, import."""

from __future__ import annotations

import os
import textwrap

import pytest

from processes import PREAMBLE, prints, python

# --------------------------------------------------------------------------------------- fork


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
    """The child has its own lock, in the same state; what it does does not affect the parent."""
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
    """The child ends at once, in either way."""
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
    """The waiting thread is not in the child. Python 3.12 warns about such forks, for good reasons.
    """
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


# --------------------------------------------------------------------------- sub-interpreters


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
    """Each works, or refuses the import; none crashes, and the main interpreter continues."""
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


# ------------------------------------------------------------------------------------- import


@pytest.mark.parametrize(
    "options", [[], ["-W", "error"], ["-X", "dev", "-W", "error"], ["-OO"], ["-I"], ["-b", "-b"]]
)
def test_import_is_silent(options: list[str]) -> None:
    """Nothing is printed, and no warning is hidden."""
    if "-I" in options and "PYTHONPATH" in os.environ:
        pytest.skip("the package is found by PYTHONPATH, which -I ignores")
    prints("import treelock", "", *options, preamble="")


def test_import_starts_no_thread() -> None:
    """It creates no event loop either; a lock can be created before a fork."""
    script = """
        import threading, treelock
        treelock.TreeLock()
        print(threading.active_count())
    """
    prints(script, "1", preamble="")


def test_import_again_after_removal_from_modules() -> None:
    """Test runners do this. It may be refused, but must not crash."""
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
