//! The latch and the gate of a table, taken as if by a process that is stopped with them.

use std::{fs::File, os::unix::fs::FileExt, path::Path, process};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

use crate::raw::{LATCH_AT, LATCH_PID_AT, NEXT_LIFE_AT, number};

/// The latch of a table, taken by a handle that does not release it, as if its process had stopped.
pub(crate) struct Latch {
    table: File,
    taken: u64,
}

impl Latch {
    pub(crate) fn of_one_who_stopped(table: &Path) -> Latch {
        let table = File::options().read(true).write(true).open(table).expect("a table");
        let set = |at, value: u64| {
            table.write_all_at(&value.to_ne_bytes(), at).expect("a table");
        };
        let life = number(&table, NEXT_LIFE_AT);
        set(NEXT_LIFE_AT, life + 1);
        fcntl(&table, FcntlArg::F_OFD_SETLK(&lock_of(life))).expect("a life of its own");
        assert_eq!(number(&table, LATCH_AT), 0, "the latch is free");
        set(LATCH_AT, life << 1);
        set(LATCH_PID_AT, process::id().into());
        Latch { table, taken: life << 1 }
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        // Whoever waits for it looks every few milliseconds.
        if number(&self.table, LATCH_AT) | 1 == self.taken | 1 {
            self.table.write_all_at(&[0; 8], LATCH_AT).expect("a table");
        }
    }
}

/// The gate of a table, locked until it is dropped, as if its process had stopped.
pub(crate) struct Gate(#[expect(dead_code, reason = "it keeps the lock")] File);

impl Gate {
    /// Waits until the gate is free.
    pub(crate) fn of_one_who_passes(table: &Path) -> Gate {
        let table = File::options().read(true).write(true).open(table).expect("a table");
        fcntl(&table, FcntlArg::F_OFD_SETLKW(&lock_of(0))).expect("others pass the gate, too");
        Gate(table)
    }

    pub(crate) fn of_one_who_stopped(table: &Path) -> Gate {
        let table = File::options().read(true).write(true).open(table).expect("a table");
        fcntl(&table, FcntlArg::F_OFD_SETLK(&lock_of(0))).expect("the gate is free");
        Gate(table)
    }
}

/// Returns an exclusive lock on a byte of the table: 0 is the gate, and others are lives.
pub(crate) fn lock_of(byte: u64) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}
