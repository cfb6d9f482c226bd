//! How an administrator takes away what a live request has.

use super::{
    flaw::{self, Flaw},
    txn::{Compare, Operation, Txn},
};
use crate::key::Space;

/// Returns the transaction that deletes the keys of the request at a slot of a session, if they
/// still have this ticket; and says so to the session, if `say`, in which case the session has to
/// be there.
pub(crate) fn revoke(
    space: &Space,
    session: &str,
    slot: u64,
    keys: &[Vec<u8>],
    ticket: i64,
    say: bool,
) -> Txn {
    let own = |key: &Vec<u8>| match flaw::has(Flaw::UnguardedRevoke) {
        true => Compare::Exists { key: key.clone() },
        false => Compare::Created { key: key.clone(), revision: ticket },
    };
    let mut compares: Vec<Compare> = keys.iter().map(own).collect();
    let mut then: Vec<Operation> = keys.iter().cloned().map(Operation::Delete).collect();
    // The session's lease is its name. What is said to the session goes with it.
    if say
        && !flaw::has(Flaw::SilentRevoke)
        && let Ok(lease) = u64::from_str_radix(session, 16)
    {
        compares.push(Compare::Exists { key: space.session(session) });
        then.push(Operation::Put {
            key: space.revoked(session, slot),
            value: ticket.to_string().into(),
            lease: lease as i64,
        });
    }
    Txn { compares, then, otherwise: Vec::new() }
}
