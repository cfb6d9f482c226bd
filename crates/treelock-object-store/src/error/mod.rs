//! What can go wrong with a folder: what happened, to what, and what to do.

pub(crate) mod folder;
pub(crate) mod incomplete;
pub(crate) mod lock;
