//! What clients and the harness tell each other: lines of JSON over one loopback connection a
//! client.
//!
//! All times are nanoseconds of CLOCK_MONOTONIC, which all processes of one host have in common.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Now.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A root: whether it is written, and its node as `a/x/`; the root of the tree is the empty text.
pub(crate) type Root = (bool, String);

/// What a client says of one of its requests, which it numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) request: u64,
    pub(crate) at: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// The first line of a client.
    Hello { client: u32 },
    /// It is about to ask. One with a time limit begins to leave by itself at `limit` or later.
    Asked { roots: Vec<Root>, limit: Option<u64> },
    /// Its ticket is known and it waits.
    Entered { ticket: u64 },
    /// It is granted; `valid` if its guard says so after this moment.
    Granted { token: u64, valid: bool },
    /// It uses the resource now and waits for the answer; `valid` if its guard said so after this
    /// moment.
    Access { write: bool, leaf: String, token: u64, valid: bool },
    /// It is about to release or drop its guard; `valid` if its guard said so after this moment.
    Leaves { valid: bool },
    /// It is over.
    Ended(End),
    /// Nothing of this client is under way any more. So often its safety net was needed.
    Settled { rescued: u64 },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// After it was granted.
    Left,
    /// Its future was dropped.
    GaveUp,
    /// A try, or its time was over.
    Blocked,
    /// The session ended.
    Lost,
    /// No member answered.
    Unavailable(String),
    /// Anything else, which is always wrong here.
    Failed(String),
}

/// What the harness tells a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The resource's answer to an access.
    Answer { request: u64, accepted: bool },
    /// The next lock that you get: keep it for so many milliseconds before you use it, without
    /// looking whether it is still yours.
    Dwell(u64),
    /// Ask for nothing more, and say when all is settled.
    Stop,
}
