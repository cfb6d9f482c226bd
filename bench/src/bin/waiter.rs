//! A process that waits for a lock on its host, for the benchmark's workload 13.
//!
//! `waiter LOCK DIRECTORY` prints a line when it is about to make its request. Once it is granted,
//! it prints how many times it slept while it waited, releases, and ends.

use std::env;
use std::io::{Write, stdout};
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use treelock_bench::host::{Directory, HostLock, OpenFlock, Sqlite};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, directory] = &arguments[..] else { panic!("usage: waiter LOCK DIRECTORY") };
    match &name[..] {
        Directory::NAME => wait::<Directory>(Path::new(directory)),
        OpenFlock::NAME => wait::<OpenFlock>(Path::new(directory)),
        Sqlite::NAME => wait::<Sqlite>(Path::new(directory)),
        other => panic!("there is no lock named {other:?}"),
    }
}

fn wait<L: HostLock>(directory: &Path) {
    let mut lock = L::open(directory);
    say("asks".into());
    let before = slept();
    lock.acquire();
    let slept = slept() - before;
    say(slept.to_string());
    lock.release();
}

/// Writes the line at once, so that the lines of all waiters stay whole in their shared pipe.
fn say(line: String) {
    stdout().write_all(format!("{line}\n").as_bytes()).expect("the reader listens");
}

fn slept() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).expect("our own usage").voluntary_context_switches()
}
