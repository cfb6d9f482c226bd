//! The suite that judges every engine judges those behind a text.

use treelock_any::AnyLock;
use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};

/// The whole suite for one way to open a lock.
macro_rules! suite {
    ($engine:ident, $steps:literal) => {
        #[test]
        fn grants_as_the_model_does() {
            random::holders_are_exactly_the_models($steps, 40, $engine);
        }

        #[test]
        fn prints_every_scenario() {
            scenarios::every_scenario_prints_what_it_says($engine);
        }

        #[test]
        fn keeps_the_rule_among_threads() {
            threads::many_threads_keep_the_rule_at_every_moment(2, $steps, $engine());
        }

        #[test]
        fn leaves_nothing() {
            leaving::every_way_to_leave_leaves_nothing($steps, $engine);
        }

        #[test]
        fn means_what_each_verb_says() {
            verbs::every_verb_means_what_it_says($engine);
        }
    };
}

mod memory {
    use super::*;

    fn engine() -> Judged<AnyLock, true> {
        Judged::exact(AnyLock::open("memory:").unwrap())
    }

    suite!(engine, 50);
}

#[cfg(feature = "dir")]
mod dir {
    use super::*;

    /// Two handles, as two processes would have.
    fn engine() -> Judged<AnyLock, false> {
        let scratch = tempfile::tempdir().unwrap();
        let text = format!("dir:{}", scratch.path().join("locks").display());
        let open = || AnyLock::open(&text).unwrap();
        Judged::late(open()).and(open()).keeping(scratch)
    }

    suite!(engine, 20);
}
