//! A part of a file as memory that all processes share: the only unsafe code of this crate.
//!
//! # Why it is sound
//!
//! - The memory is only ever seen as atomic numbers. Other processes may change it at any time, as
//!   other threads may, and every bit pattern is a number.
//! - The slices borrow the [`Map`], which keeps the mapping until it is dropped.
//! - A mapping begins at a multiple of the page size, or, where pages are larger than ours, at a
//!   multiple of 4096. So it is aligned for numbers of 64 bits.
//! - The two views of a mapping, as numbers of 32 and of 64 bits, are for different parts of it:
//!   see [`layout`](crate::format::layout).
//! - A mapping for reading is only loaded from. The numbers of 64 bits are loaded with `Relaxed` or
//!   `Acquire`, which on the processors that we know is a plain load.
//!
//! # A file that is cut
//!
//! If a file is cut short, or the disk is full when a page is written for the first time, touching
//! a page that is no longer there raises `SIGBUS`, which ends the process. A user of this lock must
//! not end because somebody emptied the table. So a handler puts an empty page in the place of the
//! missing one, private to this process, and marks the mapping as broken. Whoever uses it then
//! finds that it [is broken](Map::is_broken), or that the numbers which prove it whole are zero.
//! Signals for addresses outside our mappings go to the handler that was there before ours.
//!
//! The handler only reads atomics that are never freed, and calls `mmap`, as journald's does:
//! <https://github.com/systemd/systemd/blob/main/src/basic/sigbus.c>.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    ptr::{self, NonNull},
    slice,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use memmap2::{MmapOptions, MmapRaw};
use nix::libc;

/// A part of a file, mapped into the memory of this process.
pub(crate) struct Map {
    memory: MmapRaw,
    bytes: usize,
    guarded: &'static Guarded,
}

impl Map {
    /// Maps `bytes` bytes from `offset` on, which must be a multiple of 4096. If the file is
    /// shorter, the map is broken from the start.
    pub(crate) fn new(file: &File, offset: u64, bytes: usize, writable: bool) -> io::Result<Map> {
        let mut options = MmapOptions::new();
        options.offset(offset).len(bytes);
        let memory =
            if writable { options.map_raw(file) } else { options.map_raw_read_only(file) }?;
        HANDLER.call_once(install);
        let guarded = Guarded::claim(memory.as_ptr() as usize, bytes, writable);
        Ok(Map { memory, bytes, guarded })
    }

    /// Returns whether a page of it was missing when it was touched.
    pub(crate) fn is_broken(&self) -> bool {
        self.guarded.broken.load(Ordering::Relaxed)
    }

    /// Returns the memory as numbers of 64 bits.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let start = self.memory.as_ptr().cast::<AtomicU64>();
        debug_assert!(start.is_aligned());
        // SAFETY: mapped, aligned and atomic, for as long as `self` is borrowed; see the head.
        unsafe { slice::from_raw_parts(start, self.bytes / size_of::<AtomicU64>()) }
    }

    /// Returns the memory as numbers of 32 bits.
    pub(crate) fn halves(&self) -> &[AtomicU32] {
        let start = self.memory.as_ptr().cast::<AtomicU32>();
        debug_assert!(start.is_aligned());
        // SAFETY: as for `words`.
        unsafe { slice::from_raw_parts(start, self.bytes / size_of::<AtomicU32>()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // Before the addresses can belong to somebody else.
        self.guarded.start.store(0, Ordering::SeqCst);
        self.guarded.used.store(false, Ordering::Release);
    }
}

/// A page of this process's own memory that is wiped in the processes that are forked from it.
pub(crate) struct ForkedPage(MmapRaw);

impl ForkedPage {
    pub(crate) fn new() -> io::Result<ForkedPage> {
        let memory = MmapRaw::from(MmapOptions::new().len(PAGE).map_anon()?);
        let start = memory.as_mut_ptr().cast::<libc::c_void>();
        // SAFETY: it is our own page, which nobody has written to.
        let wiped = unsafe { libc::madvise(start, PAGE, libc::MADV_WIPEONFORK) };
        if wiped == 0 { Ok(ForkedPage(memory)) } else { Err(io::Error::last_os_error()) }
    }

    /// Returns the first number of the page. It is 0 in a new page, and in a child.
    pub(crate) fn number(&self) -> &AtomicU64 {
        // SAFETY: mapped, aligned and atomic, for as long as `self` is borrowed.
        unsafe { &*self.0.as_ptr().cast::<AtomicU64>() }
    }
}

/// Enough for a number; what is mapped is a whole page.
const PAGE: usize = 4096;

/// The addresses of a mapping, in a list that only grows, so that the handler can read it.
struct Guarded {
    used: AtomicBool,
    /// 0 while it guards nothing.
    start: AtomicUsize,
    bytes: AtomicUsize,
    writable: AtomicBool,
    broken: AtomicBool,
    next: AtomicPtr<Guarded>,
}

static GUARDED: AtomicPtr<Guarded> = AtomicPtr::new(ptr::null_mut());

impl Guarded {
    /// Returns an entry for these addresses: one that is not used any more, or a new one.
    fn claim(start: usize, bytes: usize, writable: bool) -> &'static Guarded {
        let unused = |entry: &&Guarded| {
            let unused =
                entry.used.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            unused.is_ok()
        };
        let entry = Guarded::all().find(unused).unwrap_or_else(Guarded::add);
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.writable.store(writable, Ordering::Relaxed);
        entry.broken.store(false, Ordering::Relaxed);
        entry.start.store(start, Ordering::SeqCst);
        entry
    }

    fn add() -> &'static Guarded {
        let entry: &'static Guarded = Box::leak(Box::new(Guarded {
            used: AtomicBool::new(true),
            start: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }));
        let own = ptr::from_ref(entry).cast_mut();
        let link = |head| {
            entry.next.store(head, Ordering::Relaxed);
            Some(own)
        };
        let _ = GUARDED.fetch_update(Ordering::AcqRel, Ordering::Acquire, link);
        entry
    }

    fn all() -> impl Iterator<Item = &'static Guarded> {
        let entry = |link: &AtomicPtr<Guarded>| {
            let entry = NonNull::new(link.load(Ordering::Acquire));
            // SAFETY: entries are leaked, so they live for ever, and are shared only.
            entry.map(|entry| unsafe { entry.as_ref() })
        };
        std::iter::successors(entry(&GUARDED), move |last: &&Guarded| entry(&last.next))
    }

    /// Puts an empty page at this address, if it is one of these. Returns whether it is.
    fn mend(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::SeqCst);
        let end = start.saturating_add(self.bytes.load(Ordering::Relaxed));
        if start == 0 || !(start..end).contains(&address) {
            return false;
        }
        let page = PAGE_BYTES.load(Ordering::Relaxed);
        let place = ptr::with_exposed_provenance_mut::<libc::c_void>(address & !(page - 1));
        let write = if self.writable.load(Ordering::Relaxed) { libc::PROT_WRITE } else { 0 };
        let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: it replaces a page of our own mapping, which has no memory behind it any more.
        let mapped = unsafe { libc::mmap(place, page, libc::PROT_READ | write, how, -1, 0) };
        self.broken.store(true, Ordering::SeqCst);
        mapped == place
    }
}

static HANDLER: Once = Once::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// What was there before our handler: the handler's address, and whether it takes three arguments.
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BEFORE_TAKES_INFO: AtomicBool = AtomicBool::new(false);

type Plain = extern "C" fn(libc::c_int);
type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

fn install() {
    // SAFETY: `sysconf` and `sigaction` are called with memory of the right types, and the handler
    // does only what a signal handler may.
    unsafe {
        PAGE_BYTES.store(libc::sysconf(libc::_SC_PAGESIZE) as usize, Ordering::Relaxed);
        let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
        let handler: WithInfo = on_bus_error;
        ours.sa_sigaction = handler as libc::sighandler_t;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut ours.sa_mask);
        let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
        if libc::sigaction(libc::SIGBUS, &raw const ours, &raw mut before) == 0 {
            BEFORE_TAKES_INFO.store(before.sa_flags & libc::SA_SIGINFO != 0, Ordering::Relaxed);
            BEFORE.store(before.sa_sigaction, Ordering::Release);
        }
    }
}

extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with `SA_SIGINFO`.
    let address = unsafe { (*info).si_addr() } as usize;
    if Guarded::all().any(|entry| entry.mend(address)) {
        return;
    }
    match BEFORE.load(Ordering::Acquire) {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action, which the same fault then raises.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        before if BEFORE_TAKES_INFO.load(Ordering::Relaxed) => {
            // SAFETY: `sigaction` has said that it is a handler of this type.
            let before = unsafe { std::mem::transmute::<usize, WithInfo>(before) };
            before(signal, info, context);
        }
        before => {
            // SAFETY: as above.
            let before = unsafe { std::mem::transmute::<usize, Plain>(before) };
            before(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> File {
        let file = tempfile::tempfile().expect("a place for temporary files");
        file.set_len(bytes).expect("an empty disk");
        file
    }

    #[test]
    fn two_maps_of_a_file_are_the_same_memory() {
        let file = file(8192);
        let [one, two] = [(); 2].map(|()| Map::new(&file, 4096, 4096, true).expect("memory"));
        one.words()[1].store(7, Ordering::Relaxed);
        assert_eq!(two.words()[1].load(Ordering::Relaxed), 7);
        assert_eq!(two.halves().len(), 1024);
        let reader = Map::new(&file, 4096, 4096, false).expect("memory");
        assert_eq!(reader.words()[1].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_file_that_is_cut_leaves_a_broken_map_of_zeros() {
        for writable in [true, false] {
            let file = file(8192);
            let maps = [0, 4096].map(|at| Map::new(&file, at, 4096, writable).expect("memory"));
            for map in &maps {
                assert_eq!(map.words()[3].load(Ordering::Relaxed), 0);
                assert!(!map.is_broken());
            }
            file.set_len(4096).expect("a file that can be cut");
            assert_eq!(maps[1].words()[3].load(Ordering::Relaxed), 0);
            assert!(maps[1].is_broken() && !maps[0].is_broken());
            if writable {
                maps[1].words()[3].store(9, Ordering::Relaxed);
            }
            assert_eq!(maps[0].words()[3].load(Ordering::Relaxed), 0);
            assert!(!maps[0].is_broken());
            // The entry in the list serves the next map.
            drop(maps);
            let again = Map::new(&file, 0, 4096, writable).expect("memory");
            assert!(!again.is_broken());
        }
    }
}
