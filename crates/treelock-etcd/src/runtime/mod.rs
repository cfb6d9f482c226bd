//! What drives the futures: this crate's own thread, and the runtimes of its callers.

pub(crate) mod background;
pub(crate) mod caller;
mod thread;
pub(crate) mod work;
