//! What tasks, sessions and entries are known by.

pub(crate) type TaskId = usize;
pub(crate) type SessionId = usize;
pub(crate) type Key = Vec<u8>;
