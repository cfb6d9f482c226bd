//! The arguments `read` and `write`: iterables of nodes, read when the context manager is entered.
//!
//! They are read again each time. An iterator can be read only once, so its items are kept. The
//! next entry then never locks less than the first.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use pyo3::{
    Borrowed, PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};

use crate::words::{not_roots, repr, wrong_type};

/// The argument `read` or `write`, read when it is needed and not before.
pub(crate) struct Roots {
    given: Option<Py<PyAny>>,
    reading: Mutex<Reading>,
}

/// The items of an iterator.
#[derive(Default)]
enum Reading {
    #[default]
    NotYet,
    UnderWay,
    Done(Py<PyTuple>),
    Failed,
}

impl<'py> FromPyObject<'_, 'py> for Roots {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Roots> {
        Ok(Roots { given: Some(given.to_owned().unbind()), reading: Mutex::default() })
    }
}

impl Roots {
    pub(crate) fn none() -> Roots {
        Roots { given: None, reading: Mutex::default() }
    }

    /// Calls `each` with each root.
    pub(crate) fn for_each<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        mut each: impl FnMut(&Bound<'py, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(given) = &self.given else { return Ok(()) };
        let given = given.bind(py);
        if let Ok(list) = given.cast_exact::<PyList>() {
            let mut next = 0; // a node's code may change the list during the loop
            while next < list.len() {
                each(&list.get_item(next)?)?;
                next += 1;
            }
            return Ok(());
        }
        if let Ok(tuple) = given.cast_exact::<PyTuple>() {
            return tuple.iter().try_for_each(|root| each(&root));
        }
        if given.is_instance_of::<PyString>() || given.is_instance_of::<PyBytes>() {
            return Err(not_roots(name, given));
        }
        let items = given.try_iter().map_err(|error| {
            let plain = error.is_instance_of::<PyTypeError>(py) && !has_iter(given);
            if plain { wrong_type(name, "an iterable of nodes", given) } else { error }
        })?;
        if !items.is(given) {
            return items.into_iter().try_for_each(|root| each(&root?));
        }
        self.read_once(given, name)?.bind(py).iter().try_for_each(|root| each(&root))
    }

    /// Returns the argument as it was given, as text.
    pub(crate) fn describe(&self, py: Python<'_>) -> String {
        self.given.as_ref().map_or_else(|| "()".into(), |given| repr(given.bind(py)))
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.given)?;
        match self.reading.try_lock().as_deref() {
            Ok(Reading::Done(items)) => visit.call(items),
            _ => Ok(()),
        }
    }

    /// Drops the items that were read.
    pub(crate) fn forget(&self) {
        drop(self.set(Reading::Failed));
    }

    fn set(&self, reading: Reading) -> Reading {
        let mut state = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut *state, reading)
    }

    /// Returns the items of an iterator, read now or earlier.
    fn read_once(&self, given: &Bound<'_, PyAny>, name: &str) -> PyResult<Py<PyTuple>> {
        let py = given.py();
        let refuse = |why: &str| {
            PyRuntimeError::new_err(format!(
                "the iterator given as {name} {why}, so its roots are not all known; give a list"
            ))
        };
        match self.set(Reading::UnderWay) {
            Reading::NotYet => {}
            Reading::Done(items) => {
                self.set(Reading::Done(items.clone_ref(py)));
                return Ok(items);
            }
            Reading::UnderWay => return Err(refuse("is already being read")),
            Reading::Failed => {
                self.set(Reading::Failed);
                return Err(refuse("failed when it was first read"));
            }
        }
        match read_all(given, name) {
            Ok(items) => {
                self.set(Reading::Done(items.clone_ref(py)));
                Ok(items)
            }
            Err(error) => {
                self.set(Reading::Failed);
                Err(error)
            }
        }
    }
}

fn has_iter(given: &Bound<'_, PyAny>) -> bool {
    let class = given.get_type();
    ["__iter__", "__getitem__"].iter().any(|name| class.hasattr(*name).unwrap_or(true))
}

fn read_all(iterator: &Bound<'_, PyAny>, name: &str) -> PyResult<Py<PyTuple>> {
    let py = iterator.py();
    // An exhausted generator once had roots, so locking nothing cannot be the intention.
    if iterator.getattr_opt(intern!(py, "gi_frame"))?.is_some_and(|frame| frame.is_none()) {
        return Err(PyValueError::new_err(format!(
            "the generator given as {name} is exhausted, so it would lock nothing; give a list"
        )));
    }
    let items: Vec<Bound<'_, PyAny>> = iterator.try_iter()?.collect::<PyResult<_>>()?;
    Ok(PyTuple::new(py, items)?.unbind())
}
