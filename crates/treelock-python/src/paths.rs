//! Paths, which are known by their text: where `__eq__`, `__hash__` and `parents` are those of pathlib, they
//! say no more than the text does, and calling them would take longer than all the rest.
//!
//! The first component of a path's node says which tree it lies in. Absolute POSIX paths, those that begin
//! with two slashes, and relative ones are three trees; Windows paths have one tree for each anchor (drive
//! and root), and are the same whatever the case of their letters.

use pyo3::{
    exceptions::PyValueError,
    intern,
    prelude::*,
    types::{PyBytes, PyString},
};
use smallvec::SmallVec;
use treelock::Node;

use crate::{kinds::Flavour, python::imports};

/// The trees of POSIX paths.
const ABSOLUTE: &str = "abs";
const DOUBLE: &str = "net";
const RELATIVE: &str = "rel";

/// Before the anchor of Windows paths.
const WINDOWS: &[u8] = b"win ";

/// The node of a path.
pub(crate) fn path_node(path: &Bound<'_, PyAny>, flavour: Flavour) -> PyResult<Node> {
    let text = text(path)?;
    match flavour {
        Flavour::Posix => posix_node(&text),
        Flavour::Windows => windows_node(path, &text),
    }
}

/// The text of a path. Once it was asked for, a path keeps it in a slot, from where it is had without
/// a call of Python code.
fn text<'py>(path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = path.py();
    if let Ok(kept) = path.getattr(intern!(py, "_str"))
        && let Ok(text) = kept.cast_into_exact()
    {
        return Ok(text);
    }
    // Not `str(path)`: a subclass may print itself as it likes, and is the same node.
    Ok(imports(py)?.path_text.bind(py).call1((path,))?.cast_into()?)
}

/// Text with lone surrogates, which UTF-8 proper has not.
pub(crate) fn encode<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
    Ok(bytes.cast_into()?)
}

fn posix_node(text: &Bound<'_, PyString>) -> PyResult<Node> {
    if let Ok(text) = text.to_str()
        && let Some(node) = plain_posix_node(text)
    {
        return Ok(node);
    }
    let text = encode(text)?;
    let (tree, rest) = split(text.as_bytes());
    node(tree.as_bytes(), rest, b'/')
}

/// The node of a path's text without `..`, which the core's own parser takes.
fn plain_posix_node(text: &str) -> Option<Node> {
    let (tree, rest) = split(text.as_bytes());
    let mut name: SmallVec<[u8; 128]> = SmallVec::new();
    name.extend_from_slice(tree.as_bytes());
    name.push(b'/');
    name.extend_from_slice(rest);
    std::str::from_utf8(&name).ok()?.parse().ok()
}

/// The tree that a POSIX path lies in, and the rest of its text.
fn split(text: &[u8]) -> (&'static str, &[u8]) {
    match text {
        b"." => (RELATIVE, b""),
        [b'/', b'/', rest @ ..] => (DOUBLE, rest),
        [b'/', rest @ ..] => (ABSOLUTE, rest),
        rest => (RELATIVE, rest),
    }
}

fn windows_node(path: &Bound<'_, PyAny>, text: &Bound<'_, PyString>) -> PyResult<Node> {
    let py = path.py();
    let anchor = path.getattr(intern!(py, "anchor"))?;
    let lower_anchor = lower(&anchor)?;
    let tree = [WINDOWS, lower_anchor.as_bytes()].concat();
    // Where the last letter of a word is a sigma, it matters what is made lower together.
    if imports(py)?.compares_parts {
        let rest = text.call_method1(intern!(py, "removeprefix"), (anchor,))?;
        node(&tree, lower(&rest)?.as_bytes(), b'\\')
    } else {
        let text = lower(text)?;
        let rest = text.as_bytes().strip_prefix(lower_anchor.as_bytes());
        node(&tree, rest.unwrap_or(text.as_bytes()), b'\\')
    }
}

fn lower<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let lower = text.call_method0(intern!(text.py(), "lower"))?;
    encode(lower.cast::<PyString>()?)
}

/// The node of the names in `rest`, which is a dot if there are none.
fn node(tree: &[u8], rest: &[u8], separator: u8) -> PyResult<Node> {
    let rest = if rest == b"." { b"" } else { rest };
    // To the core these are no names; no name of a path has a slash.
    fn escape(name: &[u8]) -> &[u8] {
        match name {
            b"." => b"/.",
            b".." => b"/..",
            name => name,
        }
    }
    let names = rest.split(|byte| *byte == separator).filter(|name| !name.is_empty()).map(escape);
    let node = Node::from_components([tree].into_iter().chain(names));
    node.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The path that a node stands for, if it stands for one.
pub(crate) fn path<'py>(py: Python<'py>, node: &Node) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut components = node.components();
    let imports = imports(py)?;
    let posix = (&imports.posix_path, &b"/"[..]);
    let (start, (class, separator)) = match components.next() {
        Some(tree) if tree == ABSOLUTE.as_bytes() => (&b"/"[..], posix),
        Some(tree) if tree == DOUBLE.as_bytes() => (&b"//"[..], posix),
        Some(tree) if tree == RELATIVE.as_bytes() => (&b""[..], posix),
        tree => match tree.and_then(|tree| tree.strip_prefix(WINDOWS)) {
            // The dot keeps a name with a colon from being taken for a drive.
            Some(b"") => (&b".\\"[..], (&imports.windows_path, &b"\\"[..])),
            Some(anchor) => (anchor, (&imports.windows_path, &b"\\"[..])),
            None => return Ok(None),
        },
    };
    let names: Vec<&[u8]> =
        components.map(|name| name.strip_prefix(b"/").unwrap_or(name)).collect();
    let text = PyBytes::new(py, &[start, &names.join(separator)].concat());
    let text = text.call_method1(intern!(py, "decode"), ("utf-8", "surrogatepass"))?;
    class.bind(py).call1((text,)).map(Some)
}
