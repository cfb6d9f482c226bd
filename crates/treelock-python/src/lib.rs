//! The native module of the Python package `treelock-rs`. `python/treelock/_treelock.pyi` documents
//! what it promises. This is how it works:
//!
//! ```text
//! lock(read, write) ──▶ ContextManager ──enter──▶ Plan ──▶ Request ──▶ treelock::Acquire
//!                                                                             │
//!     hold of the ContextManager ◀──granted── Waiter (task or thread) ◀───────┘
//! ```
//!
//! The core knows nothing about Python. It calls wakers while its mutex is free, and they are the
//! only way back: they set the result of an asyncio future or wake the sleeping thread. While one
//! of our mutexes is held, no Python code runs and no Python object is allocated or dropped, since
//! each of these may run user code that calls us again.
//!
//! The files, each of which uses only files above it:
//!
//! | file | what it holds |
//! |---|---|
//! | `python` | the parts of Python that are used, looked up once |
//! | `words` | error messages, and objects as text |
//! | `limit` | the argument `timeout` |
//! | `kinds`, `paths`, `intern` | what a type says about its objects; paths; all other nodes |
//! | `tree` | the lock: the core's, its nodes and their kind |
//! | `nodes`, `roots` | from Python objects to a request |
//! | `show` | from the core's answers to Python values |
//! | `sleeper`, `waiter`, `block` | sleepers to wake; a request in the queue; a thread that waits |
//! | `context` | the context manager, and the awaitables of `async with` |
//! | `lock` | the lock as Python sees it |

mod block;
mod context;
mod intern;
mod kinds;
mod limit;
mod lock;
mod nodes;
mod paths;
mod python;
mod roots;
mod show;
mod sleeper;
mod tree;
mod waiter;
mod words;

/// The native part of the package `treelock`.
#[pyo3::pymodule(gil_used = true)] // the interpreter's lock orders what happens between our mutexes
mod _treelock {
    #[pymodule_export]
    use crate::{context::manager::ContextManager, tree::TreeLock};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
