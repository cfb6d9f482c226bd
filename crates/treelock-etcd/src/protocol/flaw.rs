//! What a mutant of the protocol leaves out: [`Flaw`].
//!
//! The model must find what goes wrong without each rule. In a test build a flaw can be switched
//! on for what the thread does next; in all others [`has`] is `false` at compile time, and nothing
//! of this is left in the program.

/// What a mutant leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A waiter sleeps as soon as it watches, without reading once more.
    NoReadAfterWatch,
    /// What a waiter reads once more may be older than the watch.
    OlderThanWatch,
    /// What a waiter reads may be older than its own entry.
    OlderThanTicket,
    /// Who joins a watch is not told what the watch told before.
    NothingToldWhenJoining,
    /// The transactions of a session do not compare its epoch.
    NoEpochGuard,
    /// A release deletes the key whoever created it.
    UnguardedDelete,
    /// A waiter takes those for which it waited for all there were.
    GrantOnLastGone,
    /// Nothing keeps late copies of a repeated try from being carried out after it was refused.
    TryForgetsRetries,
    /// Nor of a request that leaves between learning its ticket and making late copies fail.
    LeavingForgetsRetries,
    /// Nor of the deletion of what lay at a request's slot, before that request is sent again.
    ClearingForgetsRetries,
    /// What is refused for want of space counts as not carried out.
    NoSpaceIsCertain,
    /// After that a key is deleted whoever wrote its value.
    AnyValue,
    /// A deletion is taken for that of whoever is waited for, even if it is older.
    AnyDeletion,
    /// Nobody learns that the stream was cut.
    CutUnnoticed,
    /// An entry of the same session counts as gone while nothing is known of it yet.
    UnknownIsGone,
    /// A later request at the slot of one of the same session is taken for that one.
    SlotIsEnough,
    /// An administrator deletes the key whoever created it.
    UnguardedRevoke,
    /// An administrator does not tell the session whose entry it deletes.
    SilentRevoke,
    /// Any key of its name is taken for that of the session.
    AnySessionKey,
    /// A waiter takes the lock without a look at its clock.
    NoClock,
}

#[cfg(test)]
thread_local! {
    static FLAW: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
}

/// Switches a flaw on, or all off, for this thread.
#[cfg(test)]
pub(crate) fn switch(flaw: Option<Flaw>) {
    FLAW.set(flaw);
}

/// Returns whether this flaw is switched on.
#[cfg(test)]
pub(crate) fn has(flaw: Flaw) -> bool {
    FLAW.get() == Some(flaw)
}

/// Returns whether this flaw is switched on, which only tests can do.
#[cfg(not(test))]
pub(crate) const fn has(_: Flaw) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::{Flaw, has, switch};

    #[test]
    fn a_flaw_is_one_thread_s() {
        switch(Some(Flaw::NoClock));
        assert!(has(Flaw::NoClock) && !has(Flaw::AnyDeletion));
        std::thread::spawn(|| assert!(!has(Flaw::NoClock))).join().expect("it is off there");
        switch(None);
        assert!(!has(Flaw::NoClock));
    }
}
