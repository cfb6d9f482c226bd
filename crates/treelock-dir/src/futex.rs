//! Sleeping until a number in shared memory changes.

use std::{
    sync::atomic::AtomicU32,
    time::{Duration, Instant},
};

use rustix::{
    thread::futex::{self, Flags},
    time::{ClockId, Timespec, clock_gettime},
};

/// For those who wait for all kinds of changes.
pub(crate) const ANY: u32 = u32::MAX;

/// Sleeps until somebody [wakes](wake) one of these kinds, unless the number is not `seen` any
/// more. Returns at the deadline, if there is one, and possibly for no reason.
pub(crate) fn wait(number: &AtomicU32, seen: u32, kinds: u32, deadline: Option<Instant>) {
    let deadline = deadline.map(|deadline| {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
        now.saturating_add(deadline.saturating_duration_since(Instant::now()))
    });
    // A time that the kernel does not understand is too far away to come.
    let deadline = deadline.and_then(|deadline| Timespec::try_from(deadline).ok());
    let kinds = kinds.try_into().expect("at least one kind");
    // Whatever ends the sleep, the caller looks.
    let _ = futex::wait_bitset(number, Flags::empty(), seen, deadline.as_ref(), kinds);
}

/// Wakes at most `count` of those who sleep on a number and wait for one of these kinds.
pub(crate) fn wake(number: &AtomicU32, count: u32, kinds: u32) {
    let kinds = kinds.try_into().expect("at least one kind");
    let count = count.min(i32::MAX as u32); // the kernel takes it as signed (mended on main too)
    let _ = futex::wake_bitset(number, Flags::empty(), count, kinds);
}
