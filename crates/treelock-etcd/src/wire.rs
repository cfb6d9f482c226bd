//! The protocol's plain data as etcd's client has it, and back.

use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, TxnResponse,
};

use crate::{
    cluster::failure::Failure,
    error::Error,
    protocol::txn::{self, Answer, Found, Kv, Look, NoAnswer, Operation},
};

/// How many reads are sent at once.
pub(crate) const READS_AT_ONCE_MAX: usize = 32;

/// Returns a transaction as the client sends it.
pub(crate) fn encode(txn: txn::Txn) -> Txn {
    let operations = |list: Vec<Operation>| list.into_iter().map(operation).collect::<Vec<_>>();
    Txn::new()
        .when(txn.compares.into_iter().map(compare).collect::<Vec<_>>())
        .and_then(operations(txn.then))
        .or_else(operations(txn.otherwise))
}

fn compare(compare: txn::Compare) -> Compare {
    use txn::Compare as Plain;
    match compare {
        Plain::Created { key, revision } => {
            Compare::create_revision(key, CompareOp::Equal, revision)
        }
        Plain::Written { key, revision } => Compare::mod_revision(key, CompareOp::Equal, revision),
        Plain::Exists { key } => Compare::create_revision(key, CompareOp::Greater, 0),
        Plain::Holds { key, value } => Compare::value(key, CompareOp::Equal, value),
        Plain::IsEmpty((first, end)) => {
            Compare::create_revision(first, CompareOp::Equal, 0).with_range(end)
        }
    }
}

fn operation(operation: Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => {
            TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
        }
        Operation::Delete(key) => TxnOp::delete(key, None),
        Operation::Get(key) => TxnOp::get(key, None),
        Operation::Look(look) => {
            let (first, options) = encode_look(look);
            TxnOp::get(first, Some(options))
        }
    }
}

/// Returns where a look begins, and its options.
pub(crate) fn encode_look(look: Look) -> (Vec<u8>, GetOptions) {
    let (first, end) = look.range;
    let options = GetOptions::new().with_range(end).with_keys_only();
    let options = options.with_limit(look.limit as i64);
    let options = match look.before {
        Some(revision) => options
            .with_max_create_revision(revision - 1)
            .with_sort(SortTarget::Create, SortOrder::Descend),
        None => options,
    };
    (first, options)
}

/// Returns what etcd answers to a transaction.
pub(crate) fn answer(response: &TxnResponse) -> Answer {
    let of = |response: TxnOpResponse| match response {
        TxnOpResponse::Get(get) => found(&get),
        _ => Found::default(),
    };
    Answer {
        revision: response.header().map_or(0, |header| header.revision()),
        succeeded: response.succeeded(),
        found: response.op_responses().into_iter().map(of).collect(),
    }
}

/// Returns what a read has found.
pub(crate) fn found(response: &GetResponse) -> Found {
    Found { kvs: response.kvs().iter().map(kv).collect(), more: response.more() }
}

/// Returns a key as it was found.
pub(crate) fn kv(kv: &KeyValue) -> Kv {
    Kv {
        key: kv.key().to_vec(),
        value: kv.value().to_vec(),
        created: kv.create_revision(),
        written: kv.mod_revision(),
    }
}

/// Returns what it means that a member was asked in vain.
pub(crate) fn no_answer(failure: &Failure) -> NoAnswer {
    match failure {
        Failure::InDoubt(_) => NoAnswer::InDoubt,
        Failure::Final(Error::NoSpace) => NoAnswer::NoSpace,
        Failure::Final(Error::Denied { .. }) => NoAnswer::Denied,
        Failure::Final(_) => NoAnswer::Refused,
    }
}
