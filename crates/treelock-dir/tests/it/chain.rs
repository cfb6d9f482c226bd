//! A lock that goes from hand to hand between processes, all of which wait for it all the time. If
//! those who leave did not wake those who wait, this would take many times as long as it may.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use treelock::{Request, Wait};
use treelock_dir::{Acquire, DirLock, Error, Guard};

use crate::{
    helper::{Helper, Part, say, word},
    raw::number,
    scratch::{Scratch, eventually, read, waiters, write},
};

/// How often each process takes the lock. Whoever is not woken looks only every 100 ms.
const TURNS: u64 = 2000;
const PROCESSES: u64 = 4;

/// Waits for a future as an executor does: sleeps until it is woken.
fn block_on(acquire: Acquire) -> Result<Guard, Error> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut acquire = std::pin::pin!(acquire);
    loop {
        match acquire.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(granted) => return granted,
            Poll::Pending => thread::park(),
        }
    }
}

/// Plays the part of a process that takes the lock again and again: counts in a file what no one
/// else may count meanwhile, and reads twice what no one may change meanwhile.
pub(crate) fn take_turns(lock: &DirLock) {
    let polls = word() == "polls";
    let path = lock.path().with_file_name("count");
    let count = File::options().read(true).write(true).open(path).expect("made by the test");
    let ask = |request: Request| match polls {
        true => block_on(lock.acquire(&request)),
        false => lock.acquire(&request).wait(),
    };
    for turn in 0..TURNS {
        let guard = ask(write("a/b")).expect("a table that works");
        let next = number(&count, 0) + 1;
        count.write_all_at(&next.to_ne_bytes(), 0).expect("room");
        drop(guard);
        if turn % 4 == 0 {
            let guard = ask(read("a")).expect("a table that works");
            let before = number(&count, 0);
            thread::yield_now();
            assert_eq!(number(&count, 0), before, "somebody writes beside a reader");
            drop(guard);
        }
    }
    say("done");
}

#[test]
fn a_lock_goes_from_hand_to_hand() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("count"), [0; 8]).expect("room");
    let guard = scratch.lock.try_acquire(&write("/")).wait().expect("a new lock is free");
    let start = |how| Part::new("chain", scratch.lock.path(), how).start();
    let mut processes: Vec<Helper> =
        (0..PROCESSES).map(|i| start(if i % 2 == 0 { "polls" } else { "blocks" })).collect();
    eventually("all wait", || waiters(&scratch.lock).len() == PROCESSES as usize);
    drop(guard);
    for process in &processes {
        process.expect("done");
    }
    for process in &mut processes {
        assert!(process.end().success());
    }
    let count = File::open(scratch.path().join("count")).expect("made above");
    assert_eq!(number(&count, 0), PROCESSES * TURNS);
    scratch.assert_at_rest();
}
