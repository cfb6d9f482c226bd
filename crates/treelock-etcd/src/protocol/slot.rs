//! What is known of who is at a slot of a session: [`Content`].

use super::flaw::{self, Flaw};

/// Who is at a slot, from before its request is first sent until that is known to be gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    who: Who,
    /// The largest ticket of which it was told that somebody else deleted its entry here.
    told: i64,
}

/// Who is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Who {
    /// A request that is on its way.
    #[default]
    Unknown,
    /// A request with this ticket.
    Entered(i64),
    /// The entry with this ticket was deleted by somebody else.
    Revoked(i64),
    Nobody,
}

impl Content {
    /// Notes that a request has entered with this ticket.
    pub(crate) fn enter(&mut self, ticket: i64) {
        self.who = Who::Entered(ticket);
        // It may have been deleted before we were told that it was there.
        self.revoke(self.told);
    }

    /// Notes that somebody told of having deleted the entry with this ticket.
    pub(crate) fn revoke(&mut self, ticket: i64) {
        self.told = self.told.max(ticket);
        if self.who == Who::Entered(self.told) {
            self.who = Who::Revoked(self.told);
        }
    }

    /// Notes that the request is known to be gone.
    pub(crate) fn leave(&mut self) {
        self.who = Who::Nobody;
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.who, Who::Revoked(_))
    }

    /// Returns whether the entry with this ticket is certainly not there.
    pub(crate) fn is_gone(&self, ticket: i64) -> bool {
        match self.who {
            Who::Unknown => flaw::has(Flaw::UnknownIsGone),
            Who::Entered(other) => other != ticket && !flaw::has(Flaw::SlotIsEnough),
            Who::Revoked(_) | Who::Nobody => true,
        }
    }
}
