//! How a lock table and its requests are stored.

pub(crate) mod cell;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod request;
