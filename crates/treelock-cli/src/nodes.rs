//! From arguments to nodes. An argument is a name, the same from every working directory; with
//! `--paths` it is a file path, and all spellings of one file become one node.

use std::{
    collections::VecDeque,
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
};

use treelock::{Access, Node, Request, ToNode as _};

use crate::error::Failure;

/// How an argument names a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    Names,
    Paths,
}

/// How many links Linux follows in one path.
const LINKS_MAX: usize = 40;

/// Returns the request for these roots.
pub(crate) fn request(
    naming: Naming,
    write: &[OsString],
    read: &[OsString],
) -> Result<Request, Failure> {
    if write.is_empty() && read.is_empty() {
        return Err(Failure::usage(
            "nothing to lock: name a root with -w or -r (the whole tree is `-w /`)",
        ));
    }
    let writes = write.iter().map(|root| (Access::Write, root));
    let reads = read.iter().map(|root| (Access::Read, root));
    writes.chain(reads).map(|(access, root)| Ok((access, node(naming, root)?))).collect()
}

/// Returns the node that an argument names.
pub(crate) fn node(naming: Naming, argument: &OsStr) -> Result<Node, Failure> {
    let path = Path::new(argument);
    // The empty path would be the working directory: an unset variable must not lock that either.
    if naming == Naming::Names || argument.is_empty() {
        return path.to_node().map_err(Failure::usage);
    }
    let resolved = resolve(&start_of(path)?, path).map_err(|error| {
        Failure::usage(format_args!("cannot tell which file {path:?} is: {error}"))
    })?;
    resolved.to_node().map_err(Failure::usage)
}

/// Returns where a path begins: at the root, or in the working directory.
fn start_of(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_absolute() {
        return Ok("/".into());
    }
    env::current_dir().map_err(|error| {
        Failure::usage(format_args!(
            "cannot tell which file {path:?} is, since the working directory is gone or closed \
             ({error}); name it from `/` on"
        ))
    })
}

/// Returns the one absolute path of a file, whether it exists or not.
///
/// The rule, from left to right: a link is replaced by what it points to, `..` removes the last
/// part of what was resolved so far, and a part that does not exist stays as it is written.
fn resolve(from: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut rest: VecDeque<OsString> = parts(path);
    let mut resolved = from.to_path_buf();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        resolved.push(&part);
        let Some(target) = link_at(&resolved)? else { continue };
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::other("its links lead in a circle"));
        }
        resolved.pop();
        if target.is_absolute() {
            resolved = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    Ok(resolved)
}

/// Returns what the link here points to; `None` if this is not a link or nothing is here.
fn link_at(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match error.kind() {
            // What the system says of a file that is not a link.
            io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// Returns the parts of a path that lead somewhere.
fn parts(path: &Path) -> VecDeque<OsString> {
    let leads = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(leads).collect()
}
