//! The cluster: its members, how to ask one of them, and what a failure means.

pub(crate) mod failure;
mod member;
mod probe;
pub(crate) mod response;
pub(crate) mod servers;
