//! The latch: whoever has it may change the table.
//!
//! It is a number in shared memory: 0 while it is free, otherwise twice the [life](crate::life) of
//! the handle that has it, plus one if somebody may sleep until it is free. So taking and releasing
//! a free latch needs no system call.
//!
//! A process can die with the latch. Who has waited for a while asks the kernel whether the life
//! has ended. If so, it takes the latch over, by a compare-and-swap from that very number. Since a
//! life never comes back, neither does the number, and one thread only takes it over. What the dead
//! had begun is still marked as begun, and the table is mended from its records: see
//! [`ledger`](crate::ledger).
//!
//! A process can also be stopped with the latch. So no one waits for it without a limit, except who
//! wants to.

use std::{
    hint,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    format::header::{LATCH, LATCH_PID},
    futex::{self, ANY},
    memory::Memory,
};

/// How often a taken latch is tried before the thread sleeps. It is mostly held for less than a
/// microsecond.
const SPINS: usize = 100;

/// How long a thread sleeps before it asks whether the holder is dead.
const SLEEP: Duration = Duration::from_millis(2);

/// The latch, held until it is dropped.
pub(crate) struct Latch<'a> {
    memory: &'a Memory,
    own: u64,
}

impl<'a> Latch<'a> {
    /// Takes the latch for the handle with this life. Returns `None` if it could not be had before
    /// the deadline, if there is one. `is_dead` tells whether a life has ended.
    pub(crate) fn take(
        memory: &'a Memory,
        own: u64,
        pid: u32,
        deadline: Option<Instant>,
        is_dead: impl Fn(u64) -> bool,
    ) -> Option<Latch<'a>> {
        let latch = Latch { memory, own };
        if !(latch.try_take(own << 1) || latch.spin() || latch.sleep(deadline, is_dead)) {
            std::mem::forget(latch);
            return None;
        }
        memory.set(LATCH_PID, pid.into());
        Some(latch)
    }

    fn try_take(&self, taken: u64) -> bool {
        self.change(0, taken)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        let latch = self.memory.number(LATCH);
        latch.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn spin(&self) -> bool {
        (0..SPINS).any(|_| {
            hint::spin_loop();
            self.memory.get(LATCH) == 0 && self.try_take(self.own << 1)
        })
    }

    /// Returns whether it has the latch. If so, it is marked as waited for, since others may sleep
    /// too.
    fn sleep(&self, deadline: Option<Instant>, is_dead: impl Fn(u64) -> bool) -> bool {
        let bell = self.memory.latch_bell();
        let contended = self.own << 1 | 1;
        loop {
            let seen = bell.load(Ordering::Acquire);
            if self.try_take(contended) {
                return true;
            }
            let now = self.memory.get(LATCH);
            if now == 0 || (now & 1 == 0 && !self.change(now, now | 1)) {
                continue;
            }
            let until = Instant::now() + SLEEP;
            futex::wait(bell, seen, ANY, Some(deadline.map_or(until, |end| end.min(until))));
            let holder = now | 1;
            let unchanged = self.memory.get(LATCH) == holder;
            if unchanged && holder >> 1 != self.own && is_dead(holder >> 1) {
                if self.change(holder, contended) {
                    return true;
                }
            } else if deadline.is_some_and(|end| Instant::now() >= end) {
                return false;
            }
        }
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        if self.memory.number(LATCH).swap(0, Ordering::Release) & 1 == 1 {
            let bell = self.memory.latch_bell();
            bell.fetch_add(1, Ordering::Release);
            futex::wake_one(bell);
        }
    }
}

/// Returns the life and the process that have the latch at this moment, if any. They may have
/// released it meanwhile.
pub(crate) fn holder(memory: &Memory) -> Option<(u64, u32)> {
    match memory.get(LATCH) >> 1 {
        0 => None,
        life => Some((life, memory.get(LATCH_PID) as u32)),
    }
}
