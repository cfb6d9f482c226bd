//! One live request, waiting or held, and how it leaves the lock.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use rustix::io::fcntl_dupfd_cloexec;
use treelock::{Blocked, Request};

use crate::{
    error::{Doing, Error},
    look,
    table::{Seat, Table},
};

/// The smallest number of an inherited descriptor, above those that scripts use (`exec 8> log`). A
/// program that opens a descriptor with a number of its own choice closes whatever had that number.
const INHERITED_FD_MIN: i32 = 100;

/// A live request of this process, waiting or held. Dropping it gives back whatever it has, in one
/// step (C10).
pub(crate) struct Turn {
    pub(crate) table: Arc<Table>,
    pub(crate) request: Request,
    /// `Some` until the turn is dropped.
    seat: Option<Seat>,
    /// The tickets that the request still waits for, the earliest first.
    blockers: Vec<u64>,
    /// Whether the turn has been given back, for the futures that report its loss, if there are
    /// any.
    released: OnceLock<Arc<AtomicBool>>,
    /// Whether a child has its open file description too.
    shared: AtomicBool,
    /// The ticket that wakes it by leaving.
    watched: Option<u64>,
}

impl Turn {
    pub(crate) fn new(table: Arc<Table>, request: Request, seat: Seat, blockers: Vec<u64>) -> Turn {
        table.watches.enter(seat.ticket);
        let (released, shared) = (OnceLock::new(), AtomicBool::new(false));
        Turn { table, request, seat: Some(seat), blockers, released, shared, watched: None }
    }

    pub(crate) fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("present until it is dropped")
    }

    /// Checks that the table is still the one that others use.
    fn check_in_place(&self) -> Result<(), Error> {
        match self.table.site.is_in_place() {
            true => Ok(()),
            false => Err(self.table.site.lost()),
        }
    }

    /// Returns the request that is in the way at this moment, according to the table.
    pub(crate) fn blocked(&self) -> Result<Option<Blocked>, Error> {
        self.check_in_place()?;
        let Seat { file, ticket, .. } = self.seat();
        // Reads through its own descriptor, since there may be no other free.
        look::blocked(file, self.table.site.path(), (&self.request, *ticket))
    }

    /// Returns whether the request is granted. If not, `waker` is called when it is worth checking
    /// again.
    pub(crate) fn is_granted_or_watched(&mut self, waker: &Waker) -> Result<bool, Error> {
        if self.blockers.is_empty() {
            return Ok(true);
        }
        let mut watched = None;
        while let Some(last) = self.last_blocker()? {
            if watched == Some(last) {
                return Ok(false);
            }
            // The ticket may have left before it was watched, so check it once more.
            self.watch(last, waker)?;
            watched = Some(last);
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Returns whether the request is granted at this moment.
    pub(crate) fn is_granted(&mut self) -> Result<bool, Error> {
        if self.blockers.is_empty() {
            return Ok(true);
        }
        if self.last_blocker()?.is_some() {
            return Ok(false);
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Records that all requests in the way have left, if the table is still the one that others
    /// use.
    fn note_grant(&self) -> Result<(), Error> {
        self.check_in_place()?;
        self.table.note_grant(self.seat());
        Ok(())
    }

    /// Returns the latest of the tickets that the request still waits for.
    fn last_blocker(&mut self) -> Result<Option<u64>, Error> {
        let seat = self.seat.as_ref().expect("present until it is dropped");
        self.table.shrink(seat, &mut self.blockers)?;
        Ok(self.blockers.last().copied())
    }

    /// Arranges for `waker` to be called when a ticket has left, and no longer for any other
    /// ticket.
    fn watch(&mut self, ticket: u64, waker: &Waker) -> Result<(), Error> {
        let own = self.seat().ticket;
        if let Some(before) = self.watched.replace(ticket).filter(|before| *before != ticket) {
            self.table.watches.leave(before, own);
        }
        let watched = self.table.watches.watch(ticket, own, waker);
        watched.doing("start a thread to wait on", self.table.site.path())
    }

    /// Returns a flag that becomes true when the turn is given back.
    pub(crate) fn released(&self) -> Arc<AtomicBool> {
        self.released.get_or_init(Arc::default).clone()
    }

    /// Returns another descriptor of the turn's open file description, for a child.
    pub(crate) fn share(&self) -> Result<OwnedFd, Error> {
        let own = &self.seat().file;
        // The limit may allow fewer descriptors than that.
        let file = fcntl_dupfd_cloexec(own, INHERITED_FD_MIN).map_err(drop);
        let file = file.or_else(|()| own.try_clone().map(OwnedFd::from));
        let file = file.doing("duplicate the descriptor of", self.table.site.path())?;
        self.shared.store(true, Ordering::Relaxed);
        Ok(file)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else { return };
        if let Some(watched) = self.watched {
            self.table.watches.leave(watched, seat.ticket);
        }
        if let Some(released) = self.released.get() {
            released.store(true, Ordering::Release);
        }
        self.table.leave(seat, self.shared.load(Ordering::Relaxed));
    }
}
