//! How Python objects become nodes of the core.
//!
//! A path is known by its text, which is parsed here: where `__eq__`, `__hash__` and `parents` are those
//! of `PurePosixPath`, they say no more than the text does, and calling them would take longer than all
//! the rest. Absolute paths, those that begin with two slashes, and relative ones are three trees, so
//! their nodes lie below three different ones. Everything else is a generic node (`intern.rs`), whose
//! ancestors come from `parents` in any order. In a lock of strings, a string is the core's own name.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use pyo3::{
    exceptions::{PyAttributeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyIterator, PyString, PyType, PyWeakrefMethods, PyWeakrefReference},
};
use smallvec::SmallVec;
use treelock::{Access, Node, Request, ToNode};

use crate::{
    intern::Names,
    lock::{TreeLock, wrong_type},
    python::{Imports, imports},
};

/// The first component of a path's node: which of the three trees.
const ABSOLUTE: &str = "abs";
const DOUBLE: &str = "net";
const RELATIVE: &str = "rel";

/// What a type says of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A `PurePosixPath` in all that matters.
    Path,
    /// A `PurePosixPath` but for its `parents`.
    OwnParents,
    /// Something else, which may or may not be equal to a path.
    Generic { may_equal_path: bool },
}

/// Roots read from Python objects, on their way to being a request. Each object is read once.
pub(crate) struct Plan<'a, 'py> {
    lock: &'a TreeLock,
    roots: SmallVec<[Root<'py>; 1]>,
    pub(crate) label: Option<String>,
}

struct Root<'py> {
    access: Access,
    object: Bound<'py, PyAny>,
    /// As they were given; `None` for a string, and for a path, whose text tells.
    ancestors: Option<Vec<Bound<'py, PyAny>>>,
}

impl<'a, 'py> Plan<'a, 'py> {
    pub(crate) fn new(lock: &'a TreeLock) -> Plan<'a, 'py> {
        Plan { lock, roots: SmallVec::new(), label: None }
    }

    pub(crate) fn add(&mut self, access: Access, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let told_by_text = self.lock.takes_strings() || kind(object)? == Kind::Path;
        let ancestors = match told_by_text {
            true => None,
            false => Some(parents(object)?.collect::<PyResult<Vec<_>>>()?),
        };
        self.roots.push(Root { access, object: object.clone(), ancestors });
        Ok(())
    }

    /// The request. No code of Python's may run before it is in the queue (see the head of `intern.rs`): not
    /// even that of an object that goes with the plan.
    pub(crate) fn request(&self) -> PyResult<(Request, Names)> {
        loop {
            let is_mixed = self.lock.interner().is_mixed();
            let mut names = Names::default();
            let mut request = Request::new();
            for root in &self.roots {
                request = self.with_root(request, root, &mut names)?;
            }
            if let Some(label) = &self.label {
                request = request.label(label.as_str());
            }
            if self.lock.interner().is_mixed() == is_mixed {
                return Ok((request, names));
            }
        }
    }

    fn with_root(
        &self,
        request: Request,
        root: &Root<'py>,
        names: &mut Names,
    ) -> PyResult<Request> {
        let Root { access, object, ancestors } = root;
        if self.lock.takes_strings() {
            return Ok(request.with(*access, string_node(object)?));
        }
        let interner = self.lock.interner();
        if ancestors.is_none() && !interner.is_mixed() {
            return Ok(request.with(*access, path_node(object)?));
        }
        let node = self.node(object, names)?;
        let ancestors: PyResult<Vec<Node>> = match ancestors {
            Some(ancestors) => ancestors.iter().map(|above| self.node(above, names)).collect(),
            None => parents(object)?.map(|above| self.node(&above?, names)).collect(),
        };
        Ok(request.with_ancestors(*access, node, ancestors?))
    }

    /// The node of an object that is not told by its text alone, or that is above such a one.
    fn node(&self, object: &Bound<'py, PyAny>, names: &mut Names) -> PyResult<Node> {
        let interner = self.lock.interner();
        let (path, may_equal_path) = match kind(object)? {
            Kind::Path | Kind::OwnParents => (Some(path_node(object)?), true),
            Kind::Generic { may_equal_path } => (None, may_equal_path),
        };
        if may_equal_path {
            interner.mix(object.py(), self.lock)?;
        }
        let node = names.node(interner, object, path);
        node.map_err(|error| explain(object, error))
    }
}

/// The ancestors of an object that has them.
fn parents<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    let py = object.py();
    match object.getattr(intern!(py, "parents")) {
        Ok(parents) => parents.try_iter(),
        Err(error) if error.is_instance_of::<PyAttributeError>(py) && is_string(object) => {
            let message = format!(
                "a str is no node: {}; use pathlib.PurePosixPath, or TreeLock(strings=True)",
                object.repr()?
            );
            Err(node_type_error(py, &message))
        }
        Err(error) => Err(error),
    }
}

fn is_string(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyString>()
}

/// Say more of an object that cannot be hashed and has no parents either, as a list.
fn explain(object: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = object.py();
    let unhashable = error.is_instance_of::<PyTypeError>(py);
    match unhashable && matches!(object.get_type().hasattr(intern!(py, "parents")), Ok(false)) {
        true => node_type_error(py, &error.value(py).to_string()),
        false => error,
    }
}

fn node_type_error(py: Python<'_>, message: &str) -> PyErr {
    let error = imports(py).and_then(|imports| imports.node_type_error.bind(py).call1((message,)));
    error.map_or_else(|error| error, PyErr::from_value)
}

/// The argument `read` or `write` is a string, whose characters are not meant as nodes.
pub(crate) fn not_roots(name: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let error = wrong_type(name, "an iterable of nodes", given);
    node_type_error(given.py(), &error.value(given.py()).to_string())
}

fn string_node(object: &Bound<'_, PyAny>) -> PyResult<Node> {
    let Ok(text) = object.cast::<PyString>() else {
        return Err(node_type_error(
            object.py(),
            &format!(
                "the nodes of a TreeLock(strings=True) are str, not {}: {}",
                object.get_type().name()?,
                object.repr()?
            ),
        ));
    };
    let refused = |error: treelock::NodeError| PyValueError::new_err(error.to_string());
    match text.to_str() {
        Ok(text) => text.to_node().map_err(refused),
        Err(_) => {
            let bytes = encode(text)?;
            let parts =
                bytes.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
            Node::from_components(parts).map_err(refused)
        }
    }
}

/// Text with lone surrogates, which UTF-8 proper has not.
fn encode<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
    Ok(bytes.cast_into()?)
}

fn path_node(path: &Bound<'_, PyAny>) -> PyResult<Node> {
    let text = text(path)?;
    if let Ok(text) = text.to_str()
        && let Some(node) = plain_text_node(text)
    {
        return Ok(node);
    }
    let text = encode(&text)?;
    let (tree, rest) = split(text.as_bytes());
    let escaped = |part| if part == b".." { &b"/.."[..] } else { part };
    let parts = rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(escaped);
    let node = Node::from_components([tree.as_bytes()].into_iter().chain(parts));
    node.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The text of a path. Once it was asked for, a path keeps it in a slot, from where it is had for a sixth
/// of the instructions of `str(path)`.
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

/// The node of a path's text without `..`, which the core's own parser takes.
fn plain_text_node(text: &str) -> Option<Node> {
    let (tree, rest) = split(text.as_bytes());
    let rest = &text[text.len() - rest.len()..];
    let mut name = String::with_capacity(tree.len() + 1 + rest.len());
    name.push_str(tree);
    name.push('/');
    name.push_str(rest);
    name.parse().ok()
}

/// The tree that a path lies in, and the rest of its text.
fn split(text: &[u8]) -> (&'static str, &[u8]) {
    match text {
        b"." => (RELATIVE, b""),
        [b'/', b'/', rest @ ..] => (DOUBLE, rest),
        [b'/', rest @ ..] => (ABSOLUTE, rest),
        rest => (RELATIVE, rest),
    }
}

/// The text of a path's node, if it is one.
pub(crate) fn path_text(node: &Node) -> Option<Vec<u8>> {
    let mut components = node.components();
    let (start, alone) = match components.next()? {
        tree if tree == ABSOLUTE.as_bytes() => ("/", "/"),
        tree if tree == DOUBLE.as_bytes() => ("//", "//"),
        tree if tree == RELATIVE.as_bytes() => ("", "."),
        _ => return None,
    };
    let parts: Vec<&[u8]> =
        components.map(|part| part.strip_prefix(b"/").unwrap_or(part)).collect();
    match parts.is_empty() {
        true => Some(alone.into()),
        false => Some([start.as_bytes(), &parts.join(&b'/')].concat()),
    }
}

/// The path with this text, which may have lone surrogates.
pub(crate) fn path<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let bytes = PyBytes::new(py, text);
    let text = bytes.call_method1(intern!(py, "decode"), ("utf-8", "surrogatepass"))?;
    imports(py)?.posix_path.bind(py).call1((text,))
}

fn kind(object: &Bound<'_, PyAny>) -> PyResult<Kind> {
    let class = object.get_type_ptr();
    let imports = imports(object.py())?;
    if class == imports.posix_path.as_ptr().cast() || class == imports.concrete_path.as_ptr().cast()
    {
        return Ok(Kind::Path);
    }
    kind_of_type(&object.get_type(), imports)
}

/// Kinds of types seen, by the address of the type. The weak reference tells whether the type at the
/// address is still the same one.
type Kinds = HashMap<usize, (Py<PyWeakrefReference>, Kind)>;

/// More than a program has types of nodes; then those of dead types are forgotten.
const MOST_KINDS: usize = 256;

fn kind_of_type(class: &Bound<'_, PyType>, imports: &Imports) -> PyResult<Kind> {
    static KINDS: Mutex<Option<Kinds>> = Mutex::new(None);
    let py = class.py();
    let address = class.as_ptr() as usize;
    let kinds = || KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kinds().as_ref().and_then(|kinds| {
        let (known, kind) = kinds.get(&address)?;
        Some((known.clone_ref(py), *kind))
    });
    if let Some((known, kind)) = known
        && known.bind(py).upgrade().is_some_and(|known| known.is(class))
    {
        return Ok(kind);
    }
    let kind = classify(class, imports)?;
    let entry = (PyWeakrefReference::new(class)?.unbind(), kind);
    let old = {
        let mut kinds = kinds();
        let kinds = kinds.get_or_insert_default();
        let all = if kinds.len() < MOST_KINDS { Kinds::default() } else { mem::take(kinds) };
        (kinds.insert(address, entry), all)
    };
    drop(old); // with the mutex free
    Ok(kind)
}

fn classify(class: &Bound<'_, PyType>, imports: &Imports) -> PyResult<Kind> {
    let py = class.py();
    let path = imports.posix_path.bind(py);
    let same = |name: &str| -> PyResult<bool> {
        let name = PyString::intern(py, name);
        match (class.getattr_opt(&name)?, path.getattr_opt(&name)?) {
            (Some(own), Some(plain)) => Ok(own.is(&plain)),
            (own, plain) => Ok(own.is_none() && plain.is_none()),
        }
    };
    // Up to Python 3.12 the flavour, and from 3.13 on the parser, take part in the comparison.
    if !(same("__eq__")? && same("__hash__")? && same("_flavour")? && same("parser")?) {
        let has_foreign_paths = same("__eq__")? && !class.is_subclass(path)?;
        let may_equal_path = !(has_foreign_paths || has_builtin_equality(class)?);
        return Ok(Kind::Generic { may_equal_path });
    }
    Ok(if same("parents")? { Kind::Path } else { Kind::OwnParents })
}

/// Whether a type compares as one of Python's own types does; none of those is equal to a path.
fn has_builtin_equality(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let equality = class.getattr(intern!(py, "__eq__"))?;
    let Some(origin) = equality.getattr_opt(intern!(py, "__objclass__"))? else { return Ok(false) };
    origin.getattr(intern!(py, "__module__"))?.eq("builtins")
}
