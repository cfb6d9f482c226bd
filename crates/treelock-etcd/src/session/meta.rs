//! What holds for a whole namespace: [`Meta`].

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of what this crate writes into etcd.
const PROTOCOL: u32 = 1;

/// The value of a namespace's own key. Without the key: this version, and epoch 0.
#[derive(Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) protocol: u32,
    pub(crate) epoch: u16,
}

impl Meta {
    /// Reads the value of the key, if there is one.
    pub(crate) fn read(value: Option<&[u8]>) -> Result<Meta, Error> {
        let meta = match value {
            None => Meta { protocol: PROTOCOL, epoch: 0 },
            Some(value) => serde_json::from_slice(value).unwrap_or(Meta { protocol: 0, epoch: 0 }),
        };
        match meta.protocol {
            PROTOCOL => Ok(meta),
            other => Err(Error::Unsupported {
                what: format!(
                    "the namespace is used by locks of another version (theirs {other}, ours \
                     {PROTOCOL}), and the two would not see each other; use the same version, or \
                     another namespace"
                ),
            }),
        }
    }
}
