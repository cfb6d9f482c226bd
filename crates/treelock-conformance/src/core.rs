//! The lock in one process as an engine.

use std::time::Duration;

use treelock::{Blocked, Guard, Request, Snapshot, TreeLock};

use crate::{Engine, Polled, Wakes};

impl Engine for TreeLock {
    type Task = Polled<Guard>;
    type Guard = Guard;

    const WAKES: Wakes = Wakes::Exact;

    fn acquire(&self, request: &Request) -> Polled<Guard> {
        Polled::new(self.acquire(request))
    }

    fn try_acquire(&self, request: &Request) -> Result<Guard, Blocked> {
        self.try_acquire(request)
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Guard, Blocked> {
        self.acquire_timeout(request, timeout)
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot()
    }

    /// The counters agree with the table, and the tickets are 1, 2, 3, failed requests counted.
    fn check(&self, snapshot: &Snapshot) {
        let counted = (self.held(), self.waiting());
        assert_eq!(counted, (snapshot.held().count(), snapshot.waiting().count()), "the counters");
        for entry in &snapshot.entries {
            let number = entry.label.as_deref().map(str::parse::<u64>);
            if let Some(Ok(number)) = number {
                assert_eq!(entry.ticket, number, "the ticket of this core\n{snapshot}");
            }
        }
    }
}
