//! What the answer to a transaction contains.

use etcd_client::{KeyValue, TxnOpResponse};

/// Returns the key that one operation of a transaction has read.
pub(crate) fn found(responses: &[TxnOpResponse], operation: usize) -> Option<&KeyValue> {
    match responses.get(operation)? {
        TxnOpResponse::Get(found) => found.kvs().first(),
        _ => None,
    }
}
