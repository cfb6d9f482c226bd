//! From Python objects to a request. Paths become nodes by their text (`paths.rs`). Everything else
//! borrows a node (`intern.rs`), with ancestors from `parents`, in any order. In a lock of strings,
//! the core's own parser reads them.

use pyo3::{
    exceptions::{PyAttributeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyIterator, PyString},
};
use smallvec::SmallVec;
use treelock::{Access, Node, Request, ToNode};

use crate::{
    intern::NodesInUse,
    kinds::{Flavour, Kind, kind},
    paths::{encode, path_node},
    tree::TreeLock,
    words::{described, node_type_error, repr},
};

/// The contents of a request to be made: roots read from Python objects, each object once, and a
/// label.
pub(crate) struct Plan<'a, 'py> {
    lock: &'a TreeLock,
    takes_strings: bool,
    roots: SmallVec<[Root<'py>; 1]>,
    label: Option<String>,
}

struct Root<'py> {
    access: Access,
    object: Bound<'py, PyAny>,
    source: Source<'py>,
}

/// The source that says where in the tree an object is.
enum Source<'py> {
    /// The text of a string, in a lock of strings.
    Text,
    /// The text of a path.
    Path(Flavour),
    /// The ancestors from its `parents`.
    Ancestors(Vec<Bound<'py, PyAny>>),
}

impl<'a, 'py> Plan<'a, 'py> {
    pub(crate) fn new(lock: &'a TreeLock) -> Plan<'a, 'py> {
        let takes_strings = lock.takes_strings();
        Plan { lock, takes_strings, roots: SmallVec::new(), label: None }
    }

    pub(crate) fn lock(&self) -> &'a TreeLock {
        self.lock
    }

    /// Sets the label.
    pub(crate) fn set_label(&mut self, label: String) {
        self.label = Some(label);
    }

    /// Reads one more root.
    pub(crate) fn add(&mut self, access: Access, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let source = match self.takes_strings {
            true => Source::Text,
            false => match kind(object)? {
                Kind::Path(flavour) => Source::Path(flavour),
                _ => Source::Ancestors(parents(object)?.collect::<PyResult<_>>()?),
            },
        };
        self.roots.push(Root { access, object: object.clone(), source });
        Ok(())
    }

    /// Creates the request. No Python code may run before it is in the queue (see the head of
    /// `intern.rs`), not even the destructor of an object that is dropped with the plan.
    pub(crate) fn request(&self) -> PyResult<(Request, NodesInUse)> {
        let made = self.make();
        if made.is_err() {
            self.lock.interner().unmix_if_idle();
        }
        made
    }

    fn make(&self) -> PyResult<(Request, NodesInUse)> {
        let interner = self.lock.interner();
        let is_object = |root: &Root<'_>| matches!(root.source, Source::Ancestors(_));
        let has_objects = self.roots.iter().any(is_object);
        loop {
            let is_mixed = interner.is_mixed();
            let _making = (is_mixed || has_objects).then(|| interner.making());
            let mut in_use = NodesInUse::default();
            let mut request = Request::new();
            for root in &self.roots {
                request = self.with_root(request, root, is_mixed, &mut in_use)?;
            }
            if let Some(label) = &self.label {
                request = request.with_label(label.as_str());
            }
            if interner.is_mixed() == is_mixed {
                return Ok((request, in_use));
            }
        }
    }

    fn with_root(
        &self,
        request: Request,
        root: &Root<'py>,
        is_mixed: bool,
        in_use: &mut NodesInUse,
    ) -> PyResult<Request> {
        let Root { access, object, source } = root;
        let ancestors: PyResult<Vec<Node>> = match source {
            Source::Text => return Ok(request.with(*access, string_node(object)?)),
            Source::Path(flavour) if !is_mixed => {
                return Ok(request.with(*access, path_node(object, *flavour)?));
            }
            Source::Path(_) => parents(object)?.map(|above| self.node(&above?, in_use)).collect(),
            Source::Ancestors(above) => {
                above.iter().map(|above| self.node(above, in_use)).collect()
            }
        };
        let node = self.node(object, in_use)?;
        Ok(request.with_ancestors(*access, node, ancestors?))
    }

    /// Returns the node of an object whose text alone is not enough, or of an ancestor of such an
    /// object.
    fn node(&self, object: &Bound<'py, PyAny>, in_use: &mut NodesInUse) -> PyResult<Node> {
        let interner = self.lock.interner();
        let (path, may_equal_path) = match kind(object)? {
            Kind::Path(flavour) | Kind::OwnParents(flavour) => {
                (Some(path_node(object, flavour)?), true)
            }
            Kind::Generic { may_equal_path } => (None, may_equal_path),
        };
        if may_equal_path {
            interner.mix(object.py())?;
        }
        let node = in_use.node(interner, object, path);
        node.map_err(|error| explain(object, error))
    }
}

/// Returns the ancestors of an object that has them.
fn parents<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    let py = object.py();
    match object.getattr(intern!(py, "parents")) {
        Ok(parents) => parents.try_iter(),
        Err(error) if error.is_instance_of::<PyAttributeError>(py) && is_string(object) => {
            let message = format!(
                "a str is not a node: {}; use pathlib.PurePosixPath, or TreeLock(strings=True)",
                repr(object)
            );
            Err(node_type_error(py, &message))
        }
        Err(error) => Err(error),
    }
}

fn is_string(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyString>()
}

/// Improves the error for an object that has neither a hash nor parents, such as a list.
fn explain(object: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = object.py();
    let unhashable = error.is_instance_of::<PyTypeError>(py);
    match unhashable && matches!(object.get_type().hasattr(intern!(py, "parents")), Ok(false)) {
        true => node_type_error(py, &error.value(py).to_string()),
        false => error,
    }
}

/// Returns the node that a string names, in a lock of strings.
fn string_node(object: &Bound<'_, PyAny>) -> PyResult<Node> {
    let Ok(text) = object.cast::<PyString>() else {
        return Err(node_type_error(
            object.py(),
            &format!("the nodes of a TreeLock(strings=True) are str, not {}", described(object)),
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
