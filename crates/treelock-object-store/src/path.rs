//! Paths of the store: from texts, to nodes of the lock, and from folder to folder.

use object_store::path::Path;
use treelock::{Node, NodeError, ToNode};

use crate::error::folder::FolderError;
use crate::verb::Verb;

/// Takes a text for a path as it stands, without encoding it.
pub(crate) fn parse(verb: Verb, text: &str) -> Result<Path, FolderError> {
    let text_of = |source| FolderError::InvalidPath { verb, text: text.to_owned(), source };
    Path::parse(text).map_err(text_of)
}

/// Takes a text for the path of a folder, and refuses the empty path, which is what an unset
/// variable makes of a folder's name.
pub(crate) fn parse_folder(verb: Verb, text: &str) -> Result<Path, FolderError> {
    let path = parse(verb, text)?;
    if path.is_root() {
        return Err(FolderError::EmptyPath { verb });
    }
    Ok(path)
}

/// Returns the node of a path. The empty path is the root, as [`object_store::ObjectStore`] defines
/// it; the folder verbs that write have refused it before.
pub(crate) fn node(path: &Path) -> Result<Node, NodeError> {
    match path.is_root() {
        true => Ok(Node::root()),
        false => path.as_ref().to_node(),
    }
}

/// Returns whether a location lies below a folder. The folder's own name does not: an object of
/// exactly that name is not in the folder.
pub(crate) fn is_below(location: &Path, folder: &Path) -> bool {
    location.prefix_match(folder).is_some_and(|mut parts| parts.next().is_some())
}

/// Returns the place below `to` that `location` has below `from`.
pub(crate) fn moved(location: &Path, from: &Path, to: &Path) -> Path {
    let mut target = to.clone();
    target.extend(location.prefix_match(from).into_iter().flatten());
    target
}
