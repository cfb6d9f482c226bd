//! Runs all of a set of named checks, and says which failed.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A check and its name.
pub(crate) type Named<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Runs all checks.
///
/// # Panics
///
/// Panics after all checks have run, with the names of those that failed. Each has printed why.
pub(crate) fn run_all(checks: Vec<Named<'_>>) {
    let fails = |(_, check): &Named<'_>| catch_unwind(AssertUnwindSafe(check)).is_err();
    let failed: Vec<&str> = checks.into_iter().filter(fails).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "these checks failed, see above: {}", failed.join(", "));
}
