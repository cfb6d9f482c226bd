//! How a folder verb is to be done.

use std::fmt;

use crate::job::progress::Progress;

/// How many copies run at once if nothing is said: enough to hide a remote store's latency, few
/// enough not to be throttled by it.
const COPIES_AT_ONCE: usize = 16;

/// What a folder verb calls after each object.
type Report = Box<dyn FnMut(&Progress<'_>) + Send>;

pub(crate) struct Tuning {
    pub(crate) parallelism: usize,
    pub(crate) overwrite: bool,
    pub(crate) report: Option<Report>,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { parallelism: COPIES_AT_ONCE, overwrite: false, report: None }
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuning")
            .field("parallelism", &self.parallelism)
            .field("overwrite", &self.overwrite)
            .finish_non_exhaustive()
    }
}
