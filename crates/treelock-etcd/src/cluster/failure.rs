//! What is known after a member was asked and did not do it: [`Failure`].

use std::{error::Error as StdError, time::Duration};

use crate::error::Error;

/// How long a member may take to answer before the next one is asked.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait before asking the same again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// What is known after a member was asked in vain.
pub(crate) enum Failure {
    /// It may have been done, or not.
    InDoubt(String),
    /// It was not done, and asking again does not help.
    Final(Error),
}

impl Failure {
    /// Says that there was no answer within [`ANSWER_TIMEOUT`].
    pub(crate) fn late() -> Failure {
        Failure::InDoubt(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()))
    }
}

/// Returns whether the token is older than the last change to users and roles. It was valid, and a
/// new one will be.
pub(super) fn is_about_an_old_token(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            status.message().contains("revision of auth store is old")
        }
        _ => false,
    }
}

/// Returns whether the connection failed, rather than the member having answered.
pub(super) fn is_about_the_connection(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.source().is_some(),
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => true,
        _ => false,
    }
}

/// Returns what an error and all its causes say.
fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// Returns what an error of the client means for what was asked.
pub(crate) fn judge(doing: &'static str, error: &etcd_client::Error) -> Failure {
    let status = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::TransportError(error) => return Failure::InDoubt(in_full(error)),
        etcd_client::Error::InvalidUri(_) | etcd_client::Error::InvalidArgs(_) => {
            return Failure::Final(Error::Refused { doing, what: error.to_string() });
        }
        _ => return Failure::InDoubt(error.to_string()),
    };
    if let Some(cause) = status.source() {
        return Failure::InDoubt(in_full(cause));
    }
    if is_about_an_old_token(error) {
        return Failure::InDoubt(status.message().into());
    }
    let what = status.message().to_string();
    // The numbers are gRPC's status codes.
    match status.code() as i32 {
        8 if what.contains("database space exceeded") => Failure::Final(Error::NoSpace),
        // This member has no vote yet; others do.
        9 | 12 | 14 if what.contains("learner") => Failure::InDoubt(what),
        // This is not etcd speaking, but the client, about an answer that it does not accept.
        11 if !what.contains("etcdserver") && !what.contains("mvcc") => Failure::InDoubt(what),
        7 | 16 => Failure::Final(Error::Denied { doing, what }),
        3 | 9 if what.contains("auth") || what.contains("user") => {
            Failure::Final(Error::Denied { doing, what })
        }
        // Invalid argument, not found, failed precondition, out of range, unimplemented.
        3 | 5 | 9 | 11 | 12 => Failure::Final(Error::Refused { doing, what }),
        _ => Failure::InDoubt(what),
    }
}
