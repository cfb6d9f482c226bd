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

/// Sleeps until somebody [wakes](wake_all) one of these kinds, unless the number is not `seen` any
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

/// Wakes all who sleep on a number and wait for one of these kinds.
pub(crate) fn wake_all(number: &AtomicU32, kinds: u32) {
    // The kernel takes the count for a signed number, and with a negative one wakes one only.
    wake(number, i32::MAX as u32, kinds);
}

/// Wakes one who sleeps on a number.
pub(crate) fn wake_one(number: &AtomicU32) {
    wake(number, 1, ANY);
}

fn wake(number: &AtomicU32, count: u32, kinds: u32) {
    let kinds = kinds.try_into().expect("at least one kind");
    let count = count.min(i32::MAX as u32); // the kernel takes it as signed (mended on main too)
    let _ = futex::wake_bitset(number, Flags::empty(), count, kinds);
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, thread};

    use super::*;

    #[test]
    fn all_sleepers_of_a_kind_are_woken() {
        let number = AtomicU32::new(0);
        let end = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for kind in [1, 1, 1, ANY] {
                let number = &number;
                scope.spawn(move || {
                    while number.load(Ordering::SeqCst) == 0 {
                        wait(number, 0, kind, Some(end));
                        assert!(Instant::now() < end, "somebody still sleeps");
                    }
                });
            }
            thread::sleep(Duration::from_millis(50));
            number.store(1, Ordering::SeqCst);
            wake_all(&number, 1);
        });
    }
}
