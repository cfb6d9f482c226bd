//! What is kept in memory after many locks were held at once.

use treelock::{Guard, Request, TreeLock, Wait};

fn hold(lock: &TreeLock, request: Request) -> Guard {
    lock.try_acquire(&request).wait().expect("nothing is in the way")
}

fn read(root: &str) -> Request {
    Request::new().read(root).expect("a good root")
}

/// After a spike, nodes in far-out slots are not kept when they rest. One of them may have gone already
/// with its last child, when that was the node that had rested longest.
#[test]
fn the_last_of_a_spike_leaves_after_its_child_was_forgotten() {
    let lock = TreeLock::new();
    let spike: Vec<Guard> = (0..40_000).map(|i| hold(&lock, read(&format!("s{i}")))).collect();
    let last = hold(&lock, read("p"));
    drop(spike);
    drop(hold(&lock, read("p/c")));
    (0..1_023).for_each(|i| drop(hold(&lock, read(&format!("q{i}")))));
    drop(last);
    let left = lock.snapshot().wait();
    assert!(left.entries.is_empty(), "left behind:\n{left}");
    drop(hold(&lock, Request::new().write("/").expect("a good root")));
}
