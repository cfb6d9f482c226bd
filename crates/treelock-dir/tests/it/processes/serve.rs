//! The part of a helper that does as it is told.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use treelock::Wait;
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Error, Guard};

use super::wire::{Answer, Order, Row};
use crate::{helper, scratch::AcquireWithin};

enum Kept {
    Task(Polled<Guard>),
    /// Kept for its drop.
    Guard {
        _guard: Guard,
    },
}

/// What a helper has.
#[derive(Default)]
struct Server {
    locks: Mutex<HashMap<PathBuf, DirLock>>,
    kept: Mutex<HashMap<u64, Kept>>,
}

/// Plays the part of a helper: does as it is told until there are no more orders.
pub(crate) fn serve() {
    let server = Arc::new(Server::default());
    while let Some(line) = helper::hear() {
        let (call, order): (u64, Order) = serde_json::from_str(&line).expect("an order");
        let blocks = matches!(order, Order::Ask { timeout: Some(_), .. });
        let server = server.clone();
        let obey = move || {
            let answer = (call, server.obey(order));
            helper::say(&serde_json::to_string(&answer).expect("plain data"));
        };
        if blocks {
            thread::spawn(obey);
        } else {
            obey();
        }
    }
}

impl Server {
    fn lock(&self, directory: PathBuf) -> DirLock {
        let mut locks = self.locks.lock().expect("no panic");
        locks.entry(directory).or_insert_with_key(|path| DirLock::new(path)).clone()
    }

    fn keep(&self, number: u64, kept: Kept) {
        self.kept.lock().expect("no panic").insert(number, kept);
    }

    fn take(&self, number: u64) -> Kept {
        self.kept.lock().expect("no panic").remove(&number).expect("it is kept")
    }

    fn obey(&self, order: Order) -> Answer {
        match order {
            Order::Make { directory, request, number } => {
                let acquire = self.lock(directory).acquire(&(&request).into());
                let task = Polled::new(async move { acquire.await.expect("a table that works") });
                self.keep(number, Kept::Task(task));
                Answer::Done
            }
            Order::Poll { number, elsewhere } => self.poll(number, elsewhere),
            Order::Wakes { number } => match self.kept.lock().expect("no panic").get(&number) {
                Some(Kept::Task(task)) => Answer::Woken(task.wakes()),
                _ => panic!("{number} is not a task"),
            },
            Order::Drop { number } => {
                drop(self.take(number));
                Answer::Done
            }
            Order::Ask { directory, request, number, timeout } => {
                let (lock, request) = (self.lock(directory), (&request).into());
                self.asked(
                    number,
                    match timeout {
                        None => lock.try_acquire(&request).wait(),
                        Some(timeout) => lock.acquire_within(&request, timeout),
                    },
                )
            }
            Order::Look { directory } => {
                let table =
                    self.lock(directory).snapshot().wait().expect("a table that can be read");
                Answer::Table(table.entries.iter().map(Row::from).collect())
            }
            Order::Forget { directory } => {
                self.locks.lock().expect("no panic").remove(&directory);
                Answer::Done
            }
        }
    }

    fn poll(&self, number: u64, elsewhere: bool) -> Answer {
        let Kept::Task(mut task) = self.take(number) else { panic!("{number} is not a task") };
        match if elsewhere { task.poll_elsewhere() } else { task.poll() } {
            Some(guard) => {
                self.keep(number, Kept::Guard { _guard: guard });
                Answer::Granted
            }
            None => {
                self.keep(number, Kept::Task(task));
                Answer::Waits
            }
        }
    }

    fn asked(&self, number: u64, result: Result<Guard, Error>) -> Answer {
        match result {
            Ok(guard) => {
                self.keep(number, Kept::Guard { _guard: guard });
                Answer::Granted
            }
            Err(Error::Blocked(blocked)) => Answer::Blocked((*blocked).into()),
            Err(other) => Answer::Failed(other.to_string()),
        }
    }
}
