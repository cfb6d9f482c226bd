//! Turns arguments into nodes. An argument is a name, the same from every working directory. With
//! `--paths` it is a file path, and all spellings of one file become the same node.

use std::{
    collections::VecDeque,
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
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

/// The maximum number of links that Linux follows in one path.
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
    // The empty path would mean the working directory, and an unset variable must not lock that.
    if naming == Naming::Names || argument.is_empty() {
        return path.to_node().map_err(|error| match looks_like_a_path(argument) {
            true => Failure::usage(format_args!("{error}; for a file path, add --paths")),
            false => Failure::usage(error),
        });
    }
    let resolved = resolve(&start_of(path)?, path).map_err(|error| {
        Failure::usage(format_args!("cannot tell which file {path:?} is: {error}"))
    })?;
    resolved.to_node().map_err(Failure::usage)
}

/// Returns whether an argument has parts that mean something in file paths only.
fn looks_like_a_path(argument: &OsStr) -> bool {
    argument.as_bytes().split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..")
}

/// Returns where a path begins: at the root, or in the working directory.
fn start_of(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_absolute() {
        return Ok("/".into());
    }
    env::current_dir().map_err(|error| {
        Failure::usage(format_args!(
            "cannot tell which file {path:?} is, because the working directory is gone or \
             inaccessible ({error}); use an absolute path"
        ))
    })
}

/// Returns the unique absolute path of a file, whether it exists or not.
///
/// Resolves from left to right: a link is replaced by its target, `..` removes the last part of
/// what was resolved so far, and a part that does not exist stays as written.
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
            return Err(io::Error::other("its links form a loop"));
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

/// Returns the target of the link at this path; `None` if there is no link or no file at all.
fn link_at(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match error.kind() {
            // The system's error for a file that is not a link.
            io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// Returns the parts of a path that have an effect.
fn parts(path: &Path) -> VecDeque<OsString> {
    let leads = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(leads).collect()
}
