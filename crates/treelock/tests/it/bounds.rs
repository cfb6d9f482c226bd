//! What every public type can do, checked at compile time.

use std::{error::Error, fmt::Debug, hash::Hash, panic::UnwindSafe};

use treelock::{
    Access, Acquire, Answer, Blocked, Entry, Error as LockError, FenceGate, FencingToken, Guard,
    Node, NodeError, Request, Root, Snapshot, State, TreeLock,
    engine::{Engine, Finding, Process, Sighting},
};

fn free<T: Send + Sync + Unpin + Debug + 'static>() {}
fn awaitable<T: Future + Send + Unpin + Debug + 'static>() {}
fn value<T: Clone + PartialEq>() {}
fn error<T: Error + Send + Sync + 'static>() {}
fn key<T: Ord + Hash + Clone>() {}
fn survives_panics<T: UnwindSafe>() {}

/// C11, C13: every value may go to any thread and be kept for any time.
#[test]
fn auto_traits() {
    free::<Access>();
    free::<Acquire>();
    free::<<TreeLock as Engine>::Acquire>();
    awaitable::<Answer<Guard>>();
    free::<Blocked>();
    free::<Entry>();
    free::<FenceGate>();
    free::<FencingToken>();
    free::<Finding>();
    free::<Process>();
    free::<Sighting>();
    free::<Guard>();
    free::<Node>();
    free::<NodeError>();
    free::<Request>();
    free::<Root>();
    free::<Snapshot>();
    free::<State>();
    free::<TreeLock>();
    value::<Snapshot>();
    value::<Blocked>();
    error::<Blocked>();
    error::<LockError>();
    error::<NodeError>();
    key::<Node>();
    value::<Request>();
    survives_panics::<Guard>();
    survives_panics::<TreeLock>();
}

/// The memory cost of an uncontended lock depends on these.
#[test]
fn sizes() {
    let word = size_of::<usize>();
    // The lock, the slot in it, the ticket and the request.
    assert_eq!(size_of::<Guard>(), 5 * word);
    assert_eq!(size_of::<TreeLock>(), word);
    assert_eq!(size_of::<Node>(), word);
    assert_eq!(size_of::<Request>(), 2 * word);
    assert_eq!(size_of::<Option<Guard>>(), size_of::<Guard>());
}
