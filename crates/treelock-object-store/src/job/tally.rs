//! The count of what a phase of a folder verb has done.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::path::Path;
use object_store::{Error, ObjectMeta, Result};
use treelock::engine::Engine;

use crate::error::folder::FolderError;
use crate::error::incomplete::Incomplete;
use crate::hold::Hold;
use crate::job::plan::Plan;
use crate::job::progress::Progress;
use crate::job::tuning::Tuning;
use crate::verb::Phase;

/// Which objects are done, and the first failure.
pub(crate) struct Tally<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) objects: &'a [ObjectMeta],
    phase: Phase,
    done: Vec<Path>,
    failed: Arc<AtomicBool>,
    first: Option<Error>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(plan: &'a Plan, phase: Phase, objects: &'a [ObjectMeta]) -> Tally<'a> {
        let done = Vec::with_capacity(objects.len());
        Tally { plan, objects, phase, done, failed: Arc::default(), first: None }
    }

    /// Returns the flag that stops the stream of work after the first failure.
    pub(crate) fn failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failed)
    }

    /// Counts the result of one object, and reports it if it is done.
    pub(crate) fn count(&mut self, result: Result<Path>, tuning: &mut Tuning) {
        match result {
            Ok(path) => {
                if let Some(report) = &mut tuning.report {
                    report(&Progress {
                        verb: self.plan.verb,
                        phase: self.phase,
                        path: &path,
                        done: self.done.len() + 1,
                        total: self.objects.len(),
                    });
                }
                self.done.push(path);
            }
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                self.first.get_or_insert(error);
            }
        }
    }

    /// Ends the phase. A loss is reported rather than what the store said, because it decides how
    /// to go on; and it is reported when all is done as well, as others may have been there
    /// meanwhile.
    pub(crate) fn finish<L: Engine>(self, hold: &Hold<L>) -> Result<(), FolderError> {
        let lost = hold.confirm(Ok(())).err();
        let Some(source) = lost.or(self.first) else { return Ok(()) };
        let done: HashSet<&Path> = self.done.iter().collect();
        let remaining = self.objects.iter().map(|object| &object.location);
        let remaining = remaining.filter(|path| !done.contains(path)).cloned().collect();
        Err(FolderError::Incomplete(Box::new(Incomplete {
            verb: self.plan.verb,
            phase: self.phase,
            from: self.plan.from.clone(),
            to: self.plan.to.clone(),
            done: self.done,
            remaining,
            source,
        })))
    }
}
