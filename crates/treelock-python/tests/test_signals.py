"""Ctrl-C and other signals, while a request waits and while one is woken."""

from __future__ import annotations

import signal

import pytest

from processes import posix, prints, python


@posix
@pytest.mark.parametrize("timeout", ["None", "50", "1e6"])
def test_ctrl_c_gets_through_to_a_waiting_thread(timeout: str) -> None:
    """Even in a wait with a timeout, and more than once."""
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
    """It is raised, and not returned as ``False``."""
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
    """It is not caught: the process ends as Python then ends, by the signal."""
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
    """The interrupted writer was the only thing that a reader behind it waited for."""
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
    """The handler runs at once, may use the lock itself, and the wait continues."""
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
    """Signals keep arriving, but the time still runs out."""
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
    """As anywhere in asyncio, the task is cancelled and leaves the line."""
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


@pytest.mark.parametrize("first", ["before", "after"])
def test_ctrl_c_while_a_release_tells_another_event_loop(first: str) -> None:
    """The waiter is woken anyway, and the interrupt reaches the main thread."""
    script = f"""
        class Loop(asyncio.SelectorEventLoop):
            interrupts = 0

            def call_soon_threadsafe(self, *arguments, **keywords):
                mine = threading.current_thread() is threading.main_thread()
                interrupts = mine and not Loop.interrupts
                Loop.interrupts += mine
                if interrupts and {first!r} == "before":
                    raise KeyboardInterrupt
                handle = super().call_soon_threadsafe(*arguments, **keywords)
                if interrupts:
                    raise KeyboardInterrupt
                return handle

        async def wait():
            entering = asyncio.ensure_future(enter())
            for _ in range(10):
                await asyncio.sleep(0)
            asleep.set()
            await asyncio.wait_for(entering, 20)

        async def enter():
            async with lock(write=[PHOTOS]):
                print("woken")

        def work():
            loop = Loop()
            loop.run_until_complete(wait())
            loop.close()

        asleep = threading.Event()
        holder.acquire()
        thread = threading.Thread(target=work)
        thread.start()
        asleep.wait()
        assert len(lock.snapshot().waiting) == 1
        interrupted = False
        try:
            holder.release()
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            interrupted = True
        thread.join()
        assert Loop.interrupts > 0
        assert len(lock.snapshot()) == 0, lock.snapshot()
        print("interrupted" if interrupted else "lost")
    """
    prints(script, "woken interrupted")
