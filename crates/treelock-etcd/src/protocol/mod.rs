//! The cluster's protocol: what a live request says to etcd, what an answer means, what follows.
//!
//! All keys of a request are created in one transaction, so they have one revision: its *ticket*,
//! and its fencing token. No later request can get a smaller one. So the entries in its way (those
//! that conflict and have a smaller ticket) are fixed at that moment and only become fewer. They
//! may be read later, in parts, and more than once.
//!
//! A waiter knows the latest of those in its way, and whether these are all. It waits until each
//! is gone: one of its own session is gone when etcd has answered its release, and the session's
//! watch tells of all others. When all that it knew of are gone, and they were all, it has the
//! lock, and asks nobody. What a watch may have missed before it began is read once more.
//!
//! Every transaction that enters a request compares the revision of the session's key, its
//! *epoch*. What is sent again, because its answer was lost, writes that key too. So of several
//! copies of a request at most one is carried out, however late the others arrive.
//!
//! Nothing here sends, waits, locks or looks at a clock, and nothing here knows the client library
//! or a runtime. [`Entry`](entry::Entry) and [`Waiting`](waiting::Waiting) are machines: `next`
//! says what has to be done, and what came of it is told to them. The crate's rooms `enter`, `wait`
//! and `leave` do what they say. The model of the protocol (`tests/model`) includes these very
//! files and drives them in every order of events; what goes wrong without each rule is a
//! [`Flaw`](flaw::Flaw) that only tests can switch on.
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
