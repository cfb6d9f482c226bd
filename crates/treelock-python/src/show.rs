//! From the core's answers to Python values, with the nodes that were given.

use std::collections::HashMap;

use pyo3::{
    prelude::*,
    types::{PyString, PyTuple},
};
use treelock::{Blocked, Node, Wait};

use crate::{
    paths::path,
    python::{imports, report},
    tree::TreeLock,
    words::{node_repr, one_line},
};

/// Nodes as they are shown: the Python object, and its text.
struct Shown<'py>(HashMap<Node, (Bound<'py, PyAny>, String)>);

impl<'py> Shown<'py> {
    fn new<'a>(
        py: Python<'py>,
        lock: &TreeLock,
        nodes: impl Iterator<Item = &'a Node>,
    ) -> PyResult<Shown<'py>> {
        // The objects come first, since the code that runs below may release what is in use now.
        let mut borrowers: HashMap<&Node, Option<Bound<'py, PyAny>>> = HashMap::new();
        for node in nodes {
            borrowers.entry(node).or_insert_with(|| lock.interner().borrower(py, node));
        }
        let mut shown = HashMap::new();
        for (node, borrower) in borrowers {
            let path = if lock.takes_strings() { None } else { path(py, node)? };
            let pair = match (path, borrower) {
                (Some(path), _) => {
                    let text = one_line(&path.str()?)?;
                    (path, text)
                }
                (None, Some(object)) => {
                    let text = node_repr(&object);
                    (object, text)
                }
                (None, None) => {
                    let text = node.to_string();
                    (PyString::new(py, &text).into_any(), text)
                }
            };
            shown.insert(node.clone(), pair);
        }
        Ok(Shown(shown))
    }

    fn print(&self, node: &Node, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0[node].1)
    }

    /// Returns a `treelock.Root`.
    fn root(
        &self,
        root: &treelock::Root,
        class: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class.call1((root.access.to_string(), &self.0[&root.node].0))
    }
}

/// Returns a `treelock.Snapshot`.
pub(crate) fn snapshot<'py>(py: Python<'py>, lock: &TreeLock) -> PyResult<Bound<'py, PyAny>> {
    let imports = imports(py)?;
    let core = lock.core().snapshot().wait();
    let nodes = core.entries.iter().flat_map(|entry| entry.roots.iter().map(|root| &root.node));
    let shown = Shown::new(py, lock, nodes)?;
    let root = imports.root.bind(py);
    let entry = |entry: &treelock::Entry| {
        let roots: PyResult<Vec<_>> = entry.roots.iter().map(|own| shown.root(own, root)).collect();
        imports.entry.bind(py).call1((
            entry.ticket,
            entry.state.to_string(),
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

/// Returns the sentence that says what is in the way.
pub(crate) fn sentence(py: Python<'_>, lock: &TreeLock, blocked: &Blocked) -> String {
    match Shown::new(py, lock, [&blocked.wanted.node, &blocked.blocker.node].into_iter()) {
        Ok(shown) => blocked.display_with(|node, f| shown.print(node, f)).to_string(),
        Err(error) => {
            report(py, error);
            blocked.to_string()
        }
    }
}

/// Returns the roots of a request as text.
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

/// Returns a `treelock.LockTimeout`.
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
        blocked.state.to_string(),
        blocked.age.as_secs_f64(),
        blocked.ahead,
    ))?;
    let message = blocked.display_with(|node, f| shown.print(node, f)).to_string();
    Ok(PyErr::from_value(imports.lock_timeout.bind(py).call1((message, value))?))
}
