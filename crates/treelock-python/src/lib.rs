//! The native module of the Python package `treelock-rs`. What it promises is in
//! `python/treelock/_treelock.pyi`; how it works:
//!
//! ```text
//! lock(read, write) ──▶ ContextManager ──enter──▶ nodes (Python objects → Request) ──▶ treelock::Acquire
//!                                                                                          │
//!                       hold in the ContextManager ◀── granted ── wait (future or thread) ◀┘
//! ```
//!
//! The core knows nothing of Python. It calls wakers when its mutex is free, and those are the only way
//! back: they set the result of an asyncio future, or wake the thread that sleeps. No
//! Python code runs, and no Python object is allocated or dropped, while a mutex of ours is held, since
//! any of these may run code of a user's that comes back to us.

mod context;
mod enter;
mod holds;
mod intern;
mod kinds;
mod lock;
mod nodes;
mod paths;
mod python;
mod roots;
mod show;
mod wait;

/// The native heart of the package `treelock`.
#[pyo3::pymodule(gil_used = true)] // the interpreter's lock orders what happens between our mutexes
mod _treelock {
    #[pymodule_export]
    use crate::{context::ContextManager, lock::TreeLock};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
