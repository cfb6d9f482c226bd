//! How a lock table and its requests are stored as bytes. No I/O but for single cells.

pub(crate) mod cells;
pub(crate) mod request;
