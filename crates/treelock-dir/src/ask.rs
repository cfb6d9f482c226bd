//! Entering a request: what happens while the latch is held.

use std::time::Instant;

use treelock::{Blocked, FencingToken, Request};

use crate::{
    error::Error,
    format::{
        cell::{NUMBERS_END, Stamp},
        header,
        request::Draft,
    },
    handle::Handle,
    kernel,
    latch::{self, Latch},
    ledger::{Ledger, Other, Trouble},
    look,
    marks::Mark,
    memory::Broken,
    record::Record,
};

/// The number of requests ahead is counted exactly up to this many.
const COUNTED_MAX: usize = 64;

/// A request that is about to be entered.
pub(crate) struct Ask<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) draft: &'a Draft<'a>,
    pub(crate) marks: &'a [Mark],
    pub(crate) may_wait: bool,
}

/// The reply to a request.
pub(crate) enum Reply {
    /// The request is entered, and waits for others, the earliest first. If there are none, it is
    /// granted.
    Entered { own: Other, token: FencingToken, ahead: Vec<Other> },
    /// The request is not entered, since another is in its way.
    Refused(Blocked),
    /// The request is not entered, since a process has had the latch for all the time. Says which.
    Stuck(Option<u32>),
    /// There is no table any more, or another one is in its place.
    Gone,
}

impl Ask<'_> {
    /// Enters behind all live requests. A request that may not wait is entered only if nothing is
    /// in its way. Waits for the latch until the deadline, if there is one.
    pub(crate) fn run(&self, deadline: Option<Instant>) -> Result<Reply, Error> {
        let Handle { memory, site, life, .. } = self.handle;
        let is_dead = |life| self.handle.is_dead(life);
        let Some(_latch) = Latch::take(memory, *life, site.process(), deadline, is_dead) else {
            return Ok(Reply::Stuck(latch::holder(memory).map(|(_, pid)| pid)));
        };
        let now = kernel::since_boot();
        if !site.was_there(now)? {
            return Ok(Reply::Gone);
        }
        let reply = match self.enter(now) {
            // What is wrong may be the index alone. The change is marked as begun, so it is built
            // again.
            Err(Trouble::Broken) => self.enter(now),
            reply => reply,
        };
        // In a table that was cut meanwhile, nothing seems to be in the way.
        if !memory.is_whole() {
            return Err(site.damaged());
        }
        reply.map_err(|trouble| match trouble {
            Trouble::Broken => site.damaged(),
            Trouble::Full(source) => {
                Error::Io { doing: "enlarge the lock table", path: site.path().into(), source }
            }
        })
    }

    fn enter(&self, now: u64) -> Result<Reply, Trouble> {
        let is_dead = |life| self.handle.is_dead(life);
        let ring = |cell, waiters| self.handle.ring(cell, waiters);
        let tell_left = |other| self.handle.tell_left(other);
        let ledger = Ledger::begin(&self.handle.memory, &is_dead, &ring, &tell_left)?;
        let reply = self.answer(&ledger, now);
        // Without room, nothing has been changed.
        if !matches!(reply, Err(Trouble::Broken)) {
            ledger.end();
        }
        reply
    }

    fn answer(&self, ledger: &Ledger<'_>, now: u64) -> Result<Reply, Trouble> {
        let mut ahead = ledger.conflicts(self.draft, self.marks)?;
        // Whether the others live is found out when they are the latest.
        while let Some(last) = ahead.last()
            && !ledger.is_live(*last)?
        {
            ahead.pop();
        }
        if !self.may_wait {
            if let Some(blocked) = self.describe(ledger, &ahead)? {
                return Ok(Reply::Refused(blocked));
            }
            // All have left meanwhile, or a damaged record is in the way that names no node of
            // ours.
            for other in ahead.drain(..) {
                if ledger.is_live(other)? {
                    return Err(Trouble::Broken);
                }
            }
        }
        self.take_place(ledger, ahead, now)
    }

    fn take_place(
        &self,
        ledger: &Ledger<'_>,
        ahead: Vec<Other>,
        asked: u64,
    ) -> Result<Reply, Trouble> {
        let Handle { memory, site, life, .. } = self.handle;
        let ticket = memory.get(header::TICKET).saturating_add(1);
        let token = self.handle.token_at(asked).max(memory.get(header::TOKEN).saturating_add(1));
        if ticket >= NUMBERS_END || token >= NUMBERS_END {
            return Err(Trouble::Broken);
        }
        let granted = if ahead.is_empty() { asked } else { 0 };
        let stamp = Stamp { ticket, token, lives: [*life, 0], pid: site.process(), asked, granted };
        memory.set(header::TICKET, ticket);
        memory.set(header::TOKEN, token);
        let cell = ledger.enter(self.draft, self.marks, &stamp)?;
        let own = Other { ticket, cell };
        self.handle.tell_asked(own, asked, &self.draft.payload);
        Ok(Reply::Entered { own, token: FencingToken::new(token), ahead })
    }

    /// Describes the first live one of the requests that are ahead. It waits itself if any earlier
    /// live request conflicts with it.
    fn describe(&self, ledger: &Ledger<'_>, ahead: &[Other]) -> Result<Option<Blocked>, Broken> {
        let memory = &self.handle.memory;
        let mut count = ahead.len();
        let mut first = None;
        for (at, other) in ahead.iter().enumerate() {
            if at >= COUNTED_MAX && first.is_some() {
                break;
            }
            if !ledger.is_live(*other)? {
                count -= 1;
            } else if first.is_none() {
                first = Record::read(memory, other.cell)?.map(|record| (*other, record));
            }
        }
        let Some((first, record)) = first else { return Ok(None) };
        let mut sightings = vec![look::sighting(&record)];
        let draft = Draft::new(&record.request);
        for other in ledger.conflicts(&draft, &draft.marks(memory.key()))? {
            if other.ticket < first.ticket && ledger.is_live(other)? {
                sightings.extend(Record::read(memory, other.cell)?.as_ref().map(look::sighting));
                break;
            }
        }
        let blocked = Blocked::of(&sightings, self.request(), first.ticket + 1);
        Ok(blocked.map(|mut blocked| {
            blocked.ahead = count;
            blocked
        }))
    }

    fn request(&self) -> &Request {
        self.draft.request
    }
}
