//! The core's answers as Python values, with the nodes that were given.

use std::collections::HashMap;

use pyo3::{intern, prelude::*, types::PyTuple};
use treelock::{Blocked, Node, State};

use crate::{
    lock::TreeLock,
    paths::path,
    python::{imports, report, unless_interrupted},
};

/// Nodes as they are shown: the Python object, and how it is printed.
struct Shown<'py>(HashMap<Node, (Bound<'py, PyAny>, String)>);

impl<'py> Shown<'py> {
    fn new<'a>(
        py: Python<'py>,
        lock: &TreeLock,
        nodes: impl Iterator<Item = &'a Node>,
    ) -> PyResult<Shown<'py>> {
        // The objects first of all, since what runs below may release what is in use now.
        let mut borrowers: HashMap<&Node, Option<Bound<'py, PyAny>>> = HashMap::new();
        for node in nodes {
            borrowers.entry(node).or_insert_with(|| lock.interner().borrower(py, node));
        }
        let mut shown = HashMap::new();
        for (node, borrower) in borrowers {
            let path = if lock.takes_strings() { None } else { path(py, node)? };
            let pair = match (path, borrower) {
                (Some(path), _) => {
                    let text = one_line(path.str()?.as_any())?;
                    (path, text)
                }
                (None, Some(object)) => printed(object),
                (None, None) => string(py, node),
            };
            shown.insert(node.clone(), pair);
        }
        Ok(Shown(shown))
    }

    fn print(&self, node: &Node, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0[node].1)
    }

    /// As a `treelock.Root`.
    fn root(
        &self,
        root: &treelock::Root,
        class: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class.call1((root.access.to_string(), &self.0[&root.node].0))
    }
}

fn string<'py>(py: Python<'py>, node: &Node) -> (Bound<'py, PyAny>, String) {
    let text = node.to_string();
    (pyo3::types::PyString::new(py, &text).into_any(), text)
}

/// Text on one line, and without what cannot be printed.
fn one_line(text: &Bound<'_, PyAny>) -> PyResult<String> {
    let escape = |char: char| match char.is_control() {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    Ok(escaped(text)?.chars().map(escape).collect())
}

/// Text whose lone surrogates are escaped.
pub(crate) fn escaped(text: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = text.py();
    let bytes = text.call_method1(intern!(py, "encode"), ("utf-8", "backslashreplace"))?;
    bytes.call_method0(intern!(py, "decode"))?.extract()
}

fn printed(object: Bound<'_, PyAny>) -> (Bound<'_, PyAny>, String) {
    let repr = object.repr().and_then(|repr| one_line(repr.as_any()));
    let text = unless_interrupted(object.py(), repr);
    let text = text.unwrap_or_else(|| "a node that cannot be printed".into());
    (object, text)
}

fn state(state: State) -> String {
    state.to_string()
}

/// A `treelock.Snapshot`.
pub(crate) fn snapshot<'py>(py: Python<'py>, lock: &TreeLock) -> PyResult<Bound<'py, PyAny>> {
    let imports = imports(py)?;
    let core = lock.core().snapshot();
    let nodes = core.entries.iter().flat_map(|entry| entry.roots.iter().map(|root| &root.node));
    let shown = Shown::new(py, lock, nodes)?;
    let root = imports.root.bind(py);
    let entry = |entry: &treelock::Entry| {
        let roots: PyResult<Vec<_>> = entry.roots.iter().map(|own| shown.root(own, root)).collect();
        imports.entry.bind(py).call1((
            entry.ticket,
            state(entry.state),
            entry.age.as_secs_f64(),
            entry.label.as_deref(),
            PyTuple::new(py, roots?)?,
            entry.waits_for,
        ))
    };
    let entries: PyResult<Vec<_>> = core.entries.iter().map(entry).collect();
    let table = core.display_with(|node, f| shown.print(node, f)).to_string();
    imports.snapshot.bind(py).call1((PyTuple::new(py, entries?)?, table))
}

/// Who is in the way, in a sentence.
pub(crate) fn sentence(py: Python<'_>, lock: &TreeLock, blocked: &Blocked) -> String {
    match Shown::new(py, lock, [&blocked.wanted.node, &blocked.blocker.node].into_iter()) {
        Ok(shown) => blocked.display_with(|node, f| shown.print(node, f)).to_string(),
        Err(error) => {
            report(py, error);
            blocked.to_string()
        }
    }
}

/// The roots of a request.
pub(crate) fn roots(py: Python<'_>, lock: &TreeLock, request: &treelock::Request) -> String {
    match Shown::new(py, lock, request.roots().map(|(_, node)| node)) {
        Ok(shown) => {
            let roots = request.roots();
            let roots = roots.map(|(access, node)| format!("{access} {}", shown.0[node].1));
            let roots: Vec<_> = roots.collect();
            if roots.is_empty() { "nothing".into() } else { roots.join(", ") }
        }
        Err(error) => {
            report(py, error);
            request.to_string()
        }
    }
}

/// A `treelock.LockTimeout`.
pub(crate) fn lock_timeout(py: Python<'_>, lock: &TreeLock, blocked: &Blocked) -> PyErr {
    try_lock_timeout(py, lock, blocked).unwrap_or_else(|error| error)
}

fn try_lock_timeout(py: Python<'_>, lock: &TreeLock, blocked: &Blocked) -> PyResult<PyErr> {
    let imports = imports(py)?;
    let nodes = [&blocked.wanted.node, &blocked.blocker.node];
    let shown = Shown::new(py, lock, nodes.into_iter())?;
    let root = imports.root.bind(py);
    let value = imports.blocked.bind(py).call1((
        shown.root(&blocked.wanted, root)?,
        shown.root(&blocked.blocker, root)?,
        blocked.label.as_deref(),
        blocked.ticket,
        state(blocked.state),
        blocked.age.as_secs_f64(),
        blocked.ahead,
    ))?;
    let message = blocked.display_with(|node, f| shown.print(node, f)).to_string();
    Ok(PyErr::from_value(imports.lock_timeout.bind(py).call1((message, value))?))
}
