//! The texts of the package: its error messages, and objects as text.

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyString, PyType},
};

use crate::python::{imports, unless_interrupted};

/// Refuses to copy: a copy would be a different lock, which does not guard what this one guards.
pub(crate) fn not_copied(class: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot copy or pickle a {class}: a copy would guard nothing"))
}

/// Refuses an argument of the wrong type. The error names the argument, what is expected, and what
/// was given.
pub(crate) fn wrong_type(name: &str, wanted: &str, given: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(wrong_type_text(name, wanted, given))
}

fn wrong_type_text(name: &str, wanted: &str, given: &Bound<'_, PyAny>) -> String {
    format!("{name} must be {wanted}, not {}", described(given))
}

/// Refuses a string as the argument `read` or `write`: its characters are not meant as nodes.
pub(crate) fn not_roots(name: &str, given: &Bound<'_, PyAny>) -> PyErr {
    node_type_error(given.py(), &wrong_type_text(name, "an iterable of nodes", given))
}

/// Returns a `treelock.NodeTypeError`.
pub(crate) fn node_type_error(py: Python<'_>, message: &str) -> PyErr {
    let error = imports(py).and_then(|imports| imports.node_type_error.bind(py).call1((message,)));
    error.map_or_else(|error| error, PyErr::from_value)
}

/// Returns the default `repr` of an object, followed by `more`.
pub(crate) fn repr_with(object: &Bound<'_, PyAny>, more: &str) -> PyResult<String> {
    let plain = PyType::new::<PyAny>(object.py())
        .call_method1(intern!(object.py(), "__repr__"), (object,))?;
    let plain: String = plain.extract()?;
    Ok(format!("{} {more}>", plain.trim_end_matches('>')))
}

/// Returns the type of an object, and its `repr`.
pub(crate) fn described(object: &Bound<'_, PyAny>) -> String {
    let class = object.get_type();
    let class = class.name().map_or_else(|_| "object".into(), |name| name.to_string());
    format!("{class}: {}", repr(object))
}

/// Returns the `repr` of an object, or a text that says that it cannot be printed.
pub(crate) fn repr(object: &Bound<'_, PyAny>) -> String {
    let repr = object.repr().map(|repr| repr.to_string_lossy().into_owned());
    unless_interrupted(object.py(), repr)
        .unwrap_or_else(|| "something that cannot be printed".into())
}

/// Returns the `repr` of a node, on one line, or a text that says that it cannot be printed.
pub(crate) fn node_repr(node: &Bound<'_, PyAny>) -> String {
    let repr = node.repr().and_then(|repr| one_line(&repr));
    unless_interrupted(node.py(), repr).unwrap_or_else(|| "a node that cannot be printed".into())
}

/// Puts text on one line, with escapes for unprintable characters.
pub(crate) fn one_line(text: &Bound<'_, PyString>) -> PyResult<String> {
    let escape = |char: char| match char.is_control() {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    Ok(escaped(text)?.chars().map(escape).collect())
}

/// Returns text with escapes for its lone surrogates, which Rust strings cannot contain.
pub(crate) fn escaped(text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    let bytes = text.call_method1(intern!(py, "encode"), ("utf-8", "backslashreplace"))?;
    bytes.call_method0(intern!(py, "decode"))?.extract()
}
