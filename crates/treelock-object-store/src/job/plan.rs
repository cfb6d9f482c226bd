//! What a folder verb is to do.

use object_store::path::Path;
use treelock::{Access, Request};

use crate::error::folder::FolderError;
use crate::path::{node, parse_folder};
use crate::verb::Verb;

/// A verb and its folders, when all that can be refused without a look at the store is refused.
#[derive(Debug)]
pub struct Plan {
    pub(crate) verb: Verb,
    pub(crate) from: Path,
    pub(crate) to: Option<Path>,
}

impl Plan {
    pub(crate) fn of_one(verb: Verb, path: &str) -> Result<Plan, FolderError> {
        Ok(Plan { verb, from: parse_folder(verb, path)?, to: None })
    }

    pub(crate) fn of_two(verb: Verb, from: &str, to: &str) -> Result<Plan, FolderError> {
        let (from, to) = (parse_folder(verb, from)?, parse_folder(verb, to)?);
        // Into its own sub-tree, a rename would delete its copies with its sources. Onto a parent,
        // the sources would lie in their own target. Nobody can be sure what either is to mean.
        if from.prefix_matches(&to) || to.prefix_matches(&from) {
            return Err(FolderError::Overlap { verb, from, to });
        }
        Ok(Plan { verb, from, to: Some(to) })
    }

    /// Returns the request for the locks that the verb needs.
    pub(crate) fn request(&self) -> Result<Request, FolderError> {
        let source = if self.verb == Verb::Copy { Access::Read } else { Access::Write };
        let request = Request::new().with(source, node(&self.from)?).with_label(self.verb.name());
        Ok(match &self.to {
            Some(to) => request.with(Access::Write, node(to)?),
            None => request,
        })
    }

    pub(crate) fn store_error(&self, path: &Path, source: object_store::Error) -> FolderError {
        FolderError::store(self.verb, path, source)
    }
}
