//! Paths, which are identified by their text. If `__eq__`, `__hash__` and `parents` are those of
//! pathlib, they say no more than the text does, and calling them would take longer than everything
//! else.
//!
//! The first component of a path's node says which tree the path is in. Absolute POSIX paths, those
//! that begin with two slashes, and relative ones are three trees. Windows paths have one tree for
//! each anchor (drive and root), and the case of their letters does not matter.

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

/// The prefix of the anchor of Windows paths.
const WINDOWS: &[u8] = b"win ";

/// Returns the node of a path.
pub(crate) fn path_node(path: &Bound<'_, PyAny>, flavour: Flavour) -> PyResult<Node> {
    let text = text(path)?;
    match flavour {
        Flavour::Posix => posix_node(&text),
        Flavour::Windows => windows_node(path, &text),
    }
}

/// Returns the text of a path. Once asked for its text, a path keeps it in a slot, which can be
/// read without calling Python code.
fn text<'py>(path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = path.py();
    if let Ok(kept) = path.getattr(intern!(py, "_str"))
        && let Ok(text) = kept.cast_into_exact()
    {
        return Ok(text);
    }
    // Not `str(path)`: a subclass may print itself differently, and is still the same node.
    Ok(imports(py)?.path_text.bind(py).call1((path,))?.cast_into()?)
}

/// Encodes text that may have lone surrogates, which valid UTF-8 does not have.
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

/// Returns the node of a path's text, if the core's own parser accepts it (it does not accept
/// `..`).
fn plain_posix_node(text: &str) -> Option<Node> {
    let (tree, rest) = split(text.as_bytes());
    let mut name: SmallVec<[u8; 128]> = SmallVec::new();
    name.extend_from_slice(tree.as_bytes());
    name.push(b'/');
    name.extend_from_slice(rest);
    std::str::from_utf8(&name).ok()?.parse().ok()
}

/// Returns the tree that a POSIX path is in, and the rest of its text.
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
    // A sigma becomes a different letter at the end of a word, so it matters what is lowercased
    // together.
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

/// Returns the node of the names in `rest`, which is a dot if there are none.
fn node(tree: &[u8], rest: &[u8], separator: u8) -> PyResult<Node> {
    let rest = if rest == b"." { b"" } else { rest };
    // The core refuses these two as names. A path's name never contains a slash.
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

/// Returns the path that a node represents, if it represents one.
pub(crate) fn path<'py>(py: Python<'py>, node: &Node) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut components = node.components();
    let imports = imports(py)?;
    let posix = (&imports.posix_path, &b"/"[..]);
    let (start, (class, separator)) = match components.next() {
        Some(tree) if tree == ABSOLUTE.as_bytes() => (&b"/"[..], posix),
        Some(tree) if tree == DOUBLE.as_bytes() => (&b"//"[..], posix),
        Some(tree) if tree == RELATIVE.as_bytes() => (&b""[..], posix),
        tree => match tree.and_then(|tree| tree.strip_prefix(WINDOWS)) {
            // Without the dot, a name with a colon would be read as a drive.
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
