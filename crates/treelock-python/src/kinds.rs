//! What the type of an object says about it, remembered per type.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use pyo3::{
    intern,
    prelude::*,
    types::{PyString, PyType, PyWeakrefMethods, PyWeakrefReference},
};

use crate::python::{Imports, imports};

/// The two kinds of paths in pathlib.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Posix,
    Windows,
}

/// What a type says about its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A `PurePosixPath` or `PureWindowsPath` in all relevant respects: its text says where it is.
    Path(Flavour),
    /// The same, but with its own `parents`.
    OwnParents(Flavour),
    /// Anything else.
    Generic { may_equal_path: bool },
}

/// Returns what the type of an object says about it.
pub(crate) fn kind(object: &Bound<'_, PyAny>) -> PyResult<Kind> {
    let class = object.get_type_ptr();
    let imports = imports(object.py())?;
    let is = |known: &Py<PyType>| class == known.as_ptr().cast();
    if is(&imports.posix_path) || is(&imports.concrete_path) {
        return Ok(Kind::Path(Flavour::Posix));
    }
    if is(&imports.windows_path) {
        return Ok(Kind::Path(Flavour::Windows));
    }
    kind_of_type(&object.get_type(), imports)
}

/// The kinds of known types, by the address of the type. The weak reference tells whether the type
/// at the address is still the same.
type Kinds = HashMap<usize, (Py<PyWeakrefReference>, Kind)>;

/// How many types are remembered, including dead ones: more than a program has types of nodes.
/// Beyond that, all are forgotten.
const KINDS_MAX: usize = 256;

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
        let all = if kinds.len() < KINDS_MAX { Kinds::default() } else { mem::take(kinds) };
        (kinds.insert(address, entry), all)
    };
    drop(old); // while the mutex is free
    Ok(kind)
}

fn classify(class: &Bound<'_, PyType>, imports: &Imports) -> PyResult<Kind> {
    let py = class.py();
    let flavours =
        [(Flavour::Posix, &imports.posix_path), (Flavour::Windows, &imports.windows_path)];
    let mut compares_as_path = false;
    for (flavour, path) in flavours {
        let path = path.bind(py);
        compares_as_path |= same(class, path, "__eq__")? && !class.is_subclass(path)?;
        // The comparison uses the flavour up to Python 3.12, the parser from 3.13, and, from 3.12,
        // also the text of the path.
        let printed = (!imports.compares_parts).then_some(&"__str__");
        let mut identity = ["__eq__", "__hash__", "_flavour", "parser"].iter().chain(printed);
        if identity.try_fold(true, |all, name| same(class, path, name).map(|same| all && same))? {
            let parents = same(class, path, "parents")?;
            return Ok(if parents { Kind::Path(flavour) } else { Kind::OwnParents(flavour) });
        }
    }
    // A path of another flavour that compares as pathlib's paths do equals neither of these two.
    let may_equal_path = !(compares_as_path || has_builtin_equality(class)?);
    Ok(Kind::Generic { may_equal_path })
}

/// Returns whether a type has its attribute from the other type, or neither has the attribute.
fn same(class: &Bound<'_, PyType>, other: &Bound<'_, PyType>, name: &str) -> PyResult<bool> {
    let name = PyString::intern(class.py(), name);
    match (class.getattr_opt(&name)?, other.getattr_opt(&name)?) {
        (Some(own), Some(others)) => Ok(own.is(&others)),
        (own, others) => Ok(own.is_none() && others.is_none()),
    }
}

/// Returns whether a type compares as one of Python's own types does, none of which equals a path.
fn has_builtin_equality(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let equality = class.getattr(intern!(py, "__eq__"))?;
    let Some(origin) = equality.getattr_opt(intern!(py, "__objclass__"))? else { return Ok(false) };
    origin.getattr(intern!(py, "__module__"))?.eq("builtins")
}
