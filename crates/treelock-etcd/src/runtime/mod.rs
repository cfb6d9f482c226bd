//! What drives the futures: this crate's own thread, and the runtimes of its callers.

pub(crate) mod caller;
pub(crate) mod leaving;
mod thread;
pub(crate) mod work;
