//! How Python objects become nodes of the core: paths by their text (`paths.rs`), everything else by a
//! node lent to it (`intern.rs`), with ancestors from `parents` in any order. In a lock of strings, a string is the
//! core's own name.

use pyo3::{
    exceptions::{PyAttributeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyIterator, PyString},
};
use smallvec::SmallVec;
use treelock::{Access, Node, Request, ToNode};

use crate::{
    intern::Names,
    kinds::{Flavour, Kind, kind},
    lock::{TreeLock, described, repr, wrong_type},
    paths::{encode, path_node},
    python::imports,
};

/// Roots read from Python objects, on their way to being a request. Each object is read once.
pub(crate) struct Plan<'a, 'py> {
    lock: &'a TreeLock,
    takes_strings: bool,
    roots: SmallVec<[Root<'py>; 1]>,
    pub(crate) label: Option<String>,
}

struct Root<'py> {
    access: Access,
    object: Bound<'py, PyAny>,
    place: Place<'py>,
}

/// What tells where in the tree an object is.
enum Place<'py> {
    /// It is a string, in a lock of strings.
    Name,
    /// It is a path, whose text tells.
    Path(Flavour),
    /// Its ancestors, as they were given.
    Below(Vec<Bound<'py, PyAny>>),
}

impl<'a, 'py> Plan<'a, 'py> {
    pub(crate) fn new(lock: &'a TreeLock) -> Plan<'a, 'py> {
        let takes_strings = lock.takes_strings();
        Plan { lock, takes_strings, roots: SmallVec::new(), label: None }
    }

    pub(crate) fn add(&mut self, access: Access, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let place = match self.takes_strings {
            true => Place::Name,
            false => match kind(object)? {
                Kind::Path(flavour) => Place::Path(flavour),
                _ => Place::Below(parents(object)?.collect::<PyResult<_>>()?),
            },
        };
        self.roots.push(Root { access, object: object.clone(), place });
        Ok(())
    }

    /// The request. No code of Python's may run before it is in the queue (see the head of `intern.rs`): not
    /// even that of an object that goes with the plan.
    pub(crate) fn request(&self) -> PyResult<(Request, Names)> {
        let made = self.make();
        if made.is_err() {
            self.lock.interner().settle();
        }
        made
    }

    fn make(&self) -> PyResult<(Request, Names)> {
        let interner = self.lock.interner();
        let has_objects = self.roots.iter().any(|root| matches!(root.place, Place::Below(_)));
        loop {
            let is_mixed = interner.is_mixed();
            let _making = (is_mixed || has_objects).then(|| interner.making());
            let mut names = Names::default();
            let mut request = Request::new();
            for root in &self.roots {
                request = self.with_root(request, root, is_mixed, &mut names)?;
            }
            if let Some(label) = &self.label {
                request = request.label(label.as_str());
            }
            if interner.is_mixed() == is_mixed {
                return Ok((request, names));
            }
        }
    }

    fn with_root(
        &self,
        request: Request,
        root: &Root<'py>,
        is_mixed: bool,
        names: &mut Names,
    ) -> PyResult<Request> {
        let Root { access, object, place } = root;
        let ancestors: PyResult<Vec<Node>> = match place {
            Place::Name => return Ok(request.with(*access, string_node(object)?)),
            Place::Path(flavour) if !is_mixed => {
                return Ok(request.with(*access, path_node(object, *flavour)?));
            }
            Place::Path(_) => parents(object)?.map(|above| self.node(&above?, names)).collect(),
            Place::Below(above) => above.iter().map(|above| self.node(above, names)).collect(),
        };
        let node = self.node(object, names)?;
        Ok(request.with_ancestors(*access, node, ancestors?))
    }

    /// The node of an object that is not told by its text alone, or that is above such a one.
    fn node(&self, object: &Bound<'py, PyAny>, names: &mut Names) -> PyResult<Node> {
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
