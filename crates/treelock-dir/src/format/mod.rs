//! How a lock table and its requests are stored as bytes. The only I/O here is on single cells.

pub(crate) mod cells;
pub(crate) mod request;
