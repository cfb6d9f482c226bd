//! The index against the definition: whatever requests are live, what the table finds in the way of
//! another is what [`Request::conflict`] says of each pair.

use treelock::{Access, Node, Request, Wait};
use treelock_dir::{Acquire, DirLock, Error, Guard};

use crate::{
    raw::{CHUNKS_AT, DIRTY_AT},
    scratch::{Scratch, write},
};
use std::time::Duration;

/// A request that is live.
enum Live {
    Held(Guard),
    Waits(Request, Acquire),
}

impl Live {
    fn request(&self) -> &Request {
        match self {
            Live::Held(guard) => guard.request(),
            Live::Waits(request, _) => request,
        }
    }

    fn ticket(&self) -> u64 {
        match self {
            Live::Held(guard) => guard.ticket(),
            Live::Waits(_, acquire) => acquire.ticket().expect("it is in line"),
        }
    }
}

/// Returns a node of a small tree, or, rarely, the root. Some names are prefixes of others.
fn node(random: &mut fastrand::Rng) -> Node {
    const NAMES: [&str; 5] = ["a", "ab", "b", "\u{1}a", "c"];
    let depth = random.usize(..5).min(random.usize(..5));
    let names = 0..depth + usize::from(random.u8(..8) != 0);
    Node::from_components(names.map(|_| NAMES[random.usize(..NAMES.len())])).expect("good names")
}

/// Returns a request: mostly of one root, sometimes of none or of many, some with given ancestors,
/// some with a record of several cells.
fn request(random: &mut fastrand::Rng) -> Request {
    let roots = [0, 1, 1, 1, 1, 1, 2, 3, 12][random.usize(..9)];
    let request = (0..roots).fold(Request::new(), |request, _| {
        let access = if random.u8(..3) == 0 { Access::Write } else { Access::Read };
        let own = node(random);
        match random.u8(..5) {
            0 => {
                let above: Vec<Node> = (0..random.usize(..4)).map(|_| node(random)).collect();
                request.with_ancestors(access, own, above)
            }
            _ => request.with(access, own),
        }
    });
    request.with_label("label ".repeat([0, 1, 100][random.usize(..3)]))
}

/// Returns the tickets of those that conflict with a request.
fn in_the_way(live: &[Live], request: &Request) -> Vec<u64> {
    let conflicts = |other: &&Live| request.conflict(other.request()).is_some();
    live.iter().filter(conflicts).map(Live::ticket).collect()
}

/// Lets requests come and go in any order, and compares. `often` of 100 enter, and the others
/// leave.
fn compare(seed: u64, rounds: usize, often: u8) -> u64 {
    let scratch = Scratch::new();
    let handles = [scratch.lock.clone(), DirLock::new(scratch.lock.path())];
    let mut random = fastrand::Rng::with_seed(seed);
    // In the order of their tickets.
    let mut live: Vec<Live> = Vec::new();
    let mut chunks = 0;
    for round in 0..rounds {
        let lock = &handles[random.usize(..2)];
        let request = request(&mut random);
        let what = format!("seed {seed}, round {round}: {request}");
        let ahead = in_the_way(&live, &request);
        let blocked = lock.blocked(&request).wait().expect("a table");
        let found = blocked.map(|blocked| (blocked.ticket, blocked.ahead));
        assert_eq!(found, ahead.first().map(|first| (*first, ahead.len())), "{what}");
        if random.u8(..100) >= often && !live.is_empty() {
            drop(live.remove(random.usize(..live.len())));
        } else if random.bool() {
            match lock.try_acquire(&request).wait() {
                Ok(guard) => {
                    assert_eq!(ahead, [0; 0], "{what}");
                    live.push(Live::Held(guard));
                }
                Err(Error::Blocked(blocked)) => {
                    assert_eq!((blocked.ticket, blocked.ahead), (ahead[0], ahead.len()), "{what}");
                }
                Err(error) => panic!("{what}: {error}"),
            }
        } else {
            let mut acquire = lock.acquire(&request);
            match acquire.wait_timeout(Duration::ZERO) {
                Some(guard) => {
                    assert_eq!(ahead, [0; 0], "{what}");
                    live.push(Live::Held(guard.expect("a table that works")));
                }
                None => {
                    assert!(!ahead.is_empty(), "{what}");
                    live.push(Live::Waits(request, acquire));
                }
            }
        }
        // Now and then as after a crash.
        if random.u8(..50) == 0 {
            scratch.set_number(DIRTY_AT, 1);
            drop(lock.try_acquire(&Request::new()).wait().expect("it conflicts with nothing"));
        } else if random.u8(..20) == 0 {
            scratch.assert_sound();
        }
        chunks = chunks.max(scratch.number(CHUNKS_AT));
    }
    let tickets = scratch.lock.snapshot().wait().expect("a table");
    let tickets = tickets.entries.iter().map(|entry| entry.ticket);
    assert!(tickets.eq(live.iter().map(Live::ticket)));
    // All that wait are granted once nothing earlier is in their way.
    while !live.is_empty() {
        if let Live::Waits(request, mut acquire) = live.remove(0) {
            let guard = acquire.wait_timeout(Duration::ZERO).expect("it is the first");
            let guard = guard.expect("a table that works");
            assert_eq!(guard.request(), &request);
        }
    }
    drop(scratch.lock.try_acquire(&write("/")).wait().expect("all have left"));
    scratch.assert_at_rest();
    chunks
}

#[test]
fn what_is_in_the_way_is_what_conflicts() {
    for seed in 0..20 {
        compare(seed, 200, 60);
    }
}

#[test]
fn what_is_in_the_way_is_what_conflicts_while_the_table_grows() {
    let chunks = compare(100, 1000, 85);
    assert!(chunks >= 5, "it has grown to {chunks} chunks");
}
