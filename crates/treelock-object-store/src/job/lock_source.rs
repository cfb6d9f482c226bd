//! Where a folder verb gets its lock.

use std::sync::Arc;

use treelock::engine::Engine;

use crate::error::folder::FolderError;
use crate::hold::Hold;
use crate::job::plan::Plan;

/// Where a folder verb gets its lock: from the engine, or from the view that it works in.
pub(crate) enum LockSource<L: Engine> {
    Engine(L),
    View(Arc<Hold<L>>),
}

impl<L: Engine> LockSource<L> {
    /// Waits for the locks of a plan, or refuses one that the view does not cover.
    pub(crate) async fn acquire(&self, plan: &Plan) -> Result<Arc<Hold<L>>, FolderError> {
        let request = plan.request()?;
        match self {
            LockSource::Engine(lock) => {
                Hold::acquire(lock, request).await.map_err(FolderError::Lock)
            }
            LockSource::View(hold) if hold.request().covers(&request) => Ok(Arc::clone(hold)),
            LockSource::View(hold) => Err(FolderError::OutsideView {
                verb: plan.verb,
                needed: request.to_string(),
                held: hold.request().to_string(),
            }),
        }
    }
}
