//! Which process this is, without asking the kernel each time.
//!
//! A number in a page that the kernel wipes in forked children (`MADV_WIPEONFORK`, since Linux
//! 4.14) tells a child from its parent. Where there is no such page, the kernel is asked.

use std::{
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::map::ForkedPage;

static PAGE: OnceLock<Option<ForkedPage>> = OnceLock::new();

fn number() -> Option<&'static AtomicU64> {
    PAGE.get_or_init(|| ForkedPage::new().ok()).as_ref().map(ForkedPage::number)
}

/// Returns the ID of this process.
pub(crate) fn id() -> u32 {
    let id = process::id();
    if let Some(number) = number() {
        number.store(id.into(), Ordering::Relaxed);
    }
    id
}

/// Returns whether this process got this [`id`], and not one that it was forked from.
pub(crate) fn is(id: u32) -> bool {
    match number() {
        Some(number) => number.load(Ordering::Relaxed) == id.into(),
        None => process::id() == id,
    }
}
