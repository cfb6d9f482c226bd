//! The namespace of a lock in its cluster: [`Namespace`].

use crate::{cluster::servers::Servers, key::Space};

/// Whom to ask, and about which keys.
#[derive(Clone, Copy)]
pub(crate) struct Namespace<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) space: &'a Space,
}
