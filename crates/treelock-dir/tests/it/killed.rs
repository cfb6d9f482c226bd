//! Death at random instants (C22): workers acquire, wait, hold, give up and release as fast as they
//! can, and one after another is killed and replaced. Marks of their own show whether two ever
//! meet.
//!
//! # The marks
//!
//! A place is a folder. A worker that enters creates a file there, named by its access and its
//! process, and then looks for those of others; a worker that leaves removes its own. Of two that
//! meet, at least one sees the other's mark. A mark may belong to a process that was killed in the
//! place. So a worker that finds a mark that must not be there waits to see what happens to it. If
//! it is removed, its owner was alive, and they have met.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{Resource, setrlimit},
    signal::Signal,
};
use treelock::{Request, Wait, engine::Severity};
use treelock_dir::{DirLock, Guard};

use crate::{
    audit::Audit,
    helper::{Helper, Part, say, word},
    scratch::{AcquireWithin, LONG, Scratch, write},
};

const WORKERS: usize = 5;
const KILLS: usize = 200;

/// The leaves of the tree, and the roots that are requested.
const PLACES: [&str; 4] = ["a/x", "a/y", "b/x", "b/y"];
const ROOTS: [&str; 7] = ["/", "a", "b", "a/x", "a/y", "b/x", "b/y"];

/// Marsaglia's xorshift: any numbers will do.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn roots(&mut self) -> Vec<Root> {
        let root = |random: &mut Random| {
            let root = ROOTS[random.below(ROOTS.len() as u64) as usize];
            (random.below(3) > 0, root)
        };
        (0..=self.below(3)).map(|_| root(self)).collect()
    }
}

/// Whether a root is a write, and its node.
type Root = (bool, &'static str);

fn request(roots: &[Root], is_long: bool) -> Request {
    let request = roots.iter().fold(Request::new(), |request, (write, root)| {
        let request = if *write { request.write(*root) } else { request.read(*root) };
        request.expect("a valid node")
    });
    // A record with a long label takes several cells.
    request.with_label("label ".repeat(if is_long { 150 } else { 1 }))
}

/// Uses up some time without yielding the processor.
fn spin(rounds: u64) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

/// Plays the part of a worker: works until the file that tells it to is gone.
pub(crate) fn work(lock: &DirLock) {
    // A core dump for each worker that aborts would fill the disk.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("less is always allowed");
    let mut random = Random(word().parse::<u64>().expect("a number") * 0x9e37_79b9 + 1);
    let folder = lock.path().parent().expect("a scratch directory").to_path_buf();
    let mut grants = 0;
    while folder.join("work").exists() {
        let roots = random.roots();
        let request = request(&roots, random.below(4) == 0);
        if let Some(guard) = ask(lock, &request, &mut random) {
            let marks = enter(&folder.join("places"), &roots, guard.token().get());
            spin(random.below(3000));
            marks.iter().for_each(|mark| fs::remove_file(mark).expect("our own mark"));
            drop(guard);
            grants += 1;
        }
    }
    say(&format!("grants {grants}"));
}

/// Makes a request in a random way, and perhaps gives up.
fn ask(lock: &DirLock, request: &Request, random: &mut Random) -> Option<Guard> {
    match random.below(4) {
        0 => lock.try_acquire(request).wait().ok(),
        1 => lock.acquire_within(request, Duration::from_micros(random.below(300))).ok(),
        2 => {
            let mut acquire = lock.acquire(request);
            (0..random.below(4)).find_map(|_| {
                let context = &mut Context::from_waker(Waker::noop());
                match Pin::new(&mut acquire).poll(context) {
                    Poll::Ready(guard) => Some(guard.expect("a table that works")),
                    Poll::Pending => None,
                }
            })
        }
        _ => match lock.acquire_within(request, LONG) {
            Ok(guard) => Some(guard),
            Err(error) => fail(&format!("not granted: {error}")),
        },
    }
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    process::exit(3)
}

/// Marks the places below these roots. Returns the marks.
fn enter(places: &Path, roots: &[Root], token: u64) -> Vec<PathBuf> {
    let covering = |place: &str| {
        let over = roots.iter().filter(|(_, root)| *root == "/" || place.starts_with(root));
        over.map(|(write, _)| *write).reduce(|a, b| a || b)
    };
    let covered = PLACES.iter().filter_map(|place| Some((place, covering(place)?)));
    let mark = |(place, writes): (&&str, bool)| {
        let place = places.join(place);
        let mark = place.join(format!("{}-{}", if writes { "w" } else { "r" }, process::id()));
        File::create_new(&mark).expect("the mark of this process alone");
        meet_nobody(&place, writes);
        see_token(&place, writes, token);
        mark
    };
    covered.map(mark).collect()
}

/// Checks that no living process is in a place where none may be.
fn meet_nobody(place: &Path, writes: bool) {
    for entry in fs::read_dir(place).expect("a place") {
        let path = entry.expect("a place that can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("plain text");
        let Some((kind, pid)) = name.split_once('-') else { continue };
        let pid: u32 = pid.parse().expect("a process");
        if pid == process::id() || !(writes || kind == "w") {
            continue;
        }
        while !is_dead(pid) {
            // Another worker that found the mark of a dead process may have removed it.
            if !path.exists() && !is_dead(pid) {
                fail(&format!("{name} was in {place:?} together with {}", process::id()));
            }
            thread::sleep(Duration::from_micros(50));
        }
        let _ = fs::remove_file(&path);
    }
}

fn is_dead(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

/// Checks that the token is larger than that of every writer that was here before (C20).
fn see_token(place: &Path, writes: bool, token: u64) {
    let file = File::options().read(true).write(true).open(place.join("token"));
    let file = file.expect("made with the place");
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).expect("it has eight bytes");
    let last = u64::from_le_bytes(bytes);
    if last >= token {
        fail(&format!("token {token} after {last} in {place:?}"));
    }
    if writes {
        file.write_all_at(&token.to_le_bytes(), 0).expect("room for it");
    }
}

fn worker(lock: &DirLock, number: usize) -> Helper {
    Part::new("work", lock.path(), &(number + 1).to_string()).start()
}

/// Returns the workers' scratch directory: the lock, the places, and the file that says that there
/// is work.
fn workplace() -> Scratch {
    let scratch = Scratch::new();
    for place in PLACES {
        let place = scratch.path().join("places").join(place);
        fs::create_dir_all(&place).expect("a scratch directory");
        fs::write(place.join("token"), [0; 8]).expect("room");
    }
    fs::write(scratch.path().join("work"), "").expect("room");
    scratch
}

/// Sends a signal until it has ended the worker, which must not end in any other way.
fn kill(worker: &mut Helper, signal: Signal) {
    use std::os::unix::process::ExitStatusExt;
    loop {
        // Rust's own handler swallows the first SEGV that was not caused by an instruction.
        worker.signal(signal);
        for _ in 0..100 {
            if let Some(status) = worker.ended() {
                assert_eq!(status.signal(), Some(signal as i32), "a worker failed, see above");
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
}

#[test]
fn workers_that_are_killed_at_random_never_meet_and_leave_nothing() {
    let scratch = workplace();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut workers: Vec<Helper> = (0..WORKERS).map(|i| worker(&scratch.lock, i)).collect();
    for number in 0..KILLS {
        thread::sleep(Duration::from_micros(random.below(15_000)));
        spin(random.below(2000));
        let victim = random.below(WORKERS as u64) as usize;
        let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSEGV, Signal::SIGABRT];
        kill(&mut workers[victim], signals[number % signals.len()]);
        workers[victim] = worker(&scratch.lock, WORKERS + number);
    }
    fs::remove_file(scratch.path().join("work")).expect("made above");
    for mut worker in workers {
        let _: u64 = worker.value("grants");
        assert!(worker.end().success(), "a worker failed, see above");
    }
    let last = scratch.lock.try_acquire(&write("/")).wait().expect("nothing is left");
    println!("{} requests, {KILLS} kills", last.ticket());
    assert!(last.ticket() > 10 * KILLS as u64, "there was hardly anything to kill");
    drop(last);
    scratch.assert_at_rest();
    let audit = Audit::clean(&scratch.table(), "after all kills");
    assert_eq!((audit.occupied(), audit.chunk_count()), (1, 1), "cells are lost");
    let found = scratch.lock.check().wait().expect("a directory that can be checked");
    let at_fault = found.iter().find(|finding| finding.severity > Severity::Good);
    assert_eq!(at_fault, None);
}
