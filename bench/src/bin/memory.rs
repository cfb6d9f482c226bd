//! Counts the bytes that a held lock costs, for the benchmark's workload 9.
//!
//! This is a separate binary, because the counting allocator would slow every peer that allocates.

use std::alloc::System;
use std::env;
use std::fmt::Write;

use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use treelock_bench::paths;
use treelock_bench::peers::{Bolt, DavMemLs, LockDb, NodeLocks, Peer, Sharded, Single, Treelock};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The depth of every path here.
const DEPTH: usize = 4;

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let held = if quick { 20_000 } else { 100_000 };
    let distinct = if quick { 1_000_000 } else { 10_000_000 };
    let rows = [
        row::<Treelock>(held, distinct),
        // Fewer, because these are slower and bolt never removes an entry.
        row::<NodeLocks<Single>>(held, distinct / 10),
        row::<NodeLocks<Sharded>>(held, distinct / 10),
        row::<Bolt<10>>(held, distinct / 10),
        row::<LockDb>(held, distinct / 10),
        row::<DavMemLs>(held / 10, distinct / 100),
    ];
    println!("{}", json!({"held": held, "distinct": distinct, "rows": rows}));
}

fn row<P: Peer>(held: usize, distinct: usize) -> Value {
    let sharing = |index| paths::path(DEPTH, index);
    let own = |index| paths::below_top(&format!("top{index:06}"), DEPTH, 0);
    let (shared_bytes, _) = hold::<P>(held, sharing);
    let (own_bytes, left) = hold::<P>(held, own);
    json!({
        "name": P::NAME,
        "sharing": shared_bytes,
        "own": own_bytes,
        "released": left,
        "distinct": visit::<P>(distinct),
        "visited": distinct,
    })
}

/// Returns the bytes per held lock, including its guard, and all bytes left after the last release.
fn hold<P: Peer>(count: usize, path: impl Fn(usize) -> String) -> (f64, isize) {
    // Created beforehand, so that only the lock's own bytes are counted.
    let paths: Vec<_> = (0..count).map(path).collect();
    let peer = P::new();
    let mut guards = Vec::with_capacity(count);
    drop(peer.write(&paths[0]));
    let region = Region::new(ALLOCATOR);
    guards.extend(paths.iter().map(|path| peer.write(path)));
    let heap = live(&region) as f64 / count as f64;
    guards.clear();
    (heap + size_of::<P::Held<'_>>() as f64, live(&region))
}

/// Returns all bytes left after `count` distinct paths were locked and released in turn.
fn visit<P: Peer>(count: usize) -> isize {
    let peer = P::new();
    let mut path = String::with_capacity(64);
    drop(peer.write("/top/dir/dir/leaf"));
    let region = Region::new(ALLOCATOR);
    for index in 0..count {
        path.clear();
        write!(path, "/top{}/dir{}/dir/leaf{index}", index % 1_000, index % 100_000)
            .expect("writing to a string cannot fail");
        drop(peer.write(&path));
    }
    live(&region)
}

fn live(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()
}
