//! The cluster's protocol: what a live request sends to etcd, what an answer means, and what
//! follows.
//!
//! All keys of a request are created in one transaction, so they share one revision. That is the
//! request's *ticket*, and its fencing token. No later request can get a smaller one. So the
//! entries in its way (those that conflict and have a smaller ticket) are fixed at that moment, and
//! their number only shrinks. They may be read later, in parts, and more than once.
//!
//! A waiter knows the latest of the entries in its way, and whether these are all. It waits until
//! each is gone. An entry of its own session is gone when etcd has answered its release; the
//! session's watch reports all others. When all known entries are gone, and there were no others,
//! the waiter has the lock, without asking etcd. What a watch may have missed before it began is
//! read once more.
//!
//! Every transaction that enters a request compares the revision of the session's key, its *epoch*.
//! A transaction that is sent again, because its answer was lost, also writes that key. So of
//! several copies of a request at most one is carried out, however late the others arrive.
//!
//! Nothing here sends, waits, locks or looks at a clock, and nothing here knows the client library
//! or a runtime. [`Entry`](entry::Entry) and [`Waiting`](waiting::Waiting) are state machines:
//! `next` says what to do, and its outcome is then passed to them. The crate's modules `enter`,
//! `wait` and `leave` carry out what they say. The model of the protocol (`tests/model`) includes
//! these very files and drives them in every order of events, but for the safety net, which goes by
//! the clock and has unit tests. What goes wrong without each rule is a [`Flaw`](flaw::Flaw) that
//! only tests can switch on.
//!
//! ```text
//! txn, flaw ◀ session ◀ wish ◀ leaving ◀ entry
//! txn ◀ blockers ◀ entry, waiting
//! flaw ◀ slot, told, revoke          numbers
//! ```

pub(crate) mod blockers;
pub(crate) mod entry;
pub(crate) mod flaw;
pub(crate) mod leaving;
pub(crate) mod numbers;
pub(crate) mod revoke;
pub(crate) mod session;
pub(crate) mod slot;
pub(crate) mod told;
pub(crate) mod txn;
pub(crate) mod waiting;
pub(crate) mod wish;
