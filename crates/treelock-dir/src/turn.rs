//! One live request, waiting or held, and how it leaves the lock.

use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use rustix::io::fcntl_dupfd_cloexec;
use treelock::{Blocked, Request};

use crate::{
    error::{Doing, Error},
    ledger::Other,
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
    seat: Seat,
    /// The requests that this one still waits for, the earliest first.
    ahead: Vec<Other>,
    /// Whether the turn has been given back, for the futures that report its loss, if there are
    /// any.
    released: OnceLock<Arc<AtomicBool>>,
    /// The open file description that a child has too, if there is one.
    shared: Mutex<Option<File>>,
    /// The request that wakes it by leaving.
    watched: Option<Other>,
}

impl Turn {
    pub(crate) fn new(table: Arc<Table>, request: Request, seat: Seat, ahead: Vec<Other>) -> Turn {
        let (released, shared) = Default::default();
        Turn { table, request, seat, ahead, released, shared, watched: None }
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Checks that the table is still the one that others use.
    fn check_in_place(&self) -> Result<(), Error> {
        match self.table.site.is_in_place() {
            true => Ok(()),
            false => Err(self.table.site.lost()),
        }
    }

    /// Returns the request that is in the way at this moment.
    pub(crate) fn blocked(&self) -> Result<Option<Blocked>, Error> {
        self.check_in_place()?;
        look::in_the_way(&self.table.handle, &self.request, &self.ahead)
    }

    /// Returns whether the request is granted. If not, `waker` is called when it is worth checking
    /// again.
    pub(crate) fn is_granted_or_watched(&mut self, waker: &Waker) -> Result<bool, Error> {
        if self.ahead.is_empty() {
            return Ok(true);
        }
        let mut watched = None;
        while let Some(last) = self.last_ahead()? {
            if watched == Some(last) {
                return Ok(false);
            }
            // It may have left before it was watched, so check it once more.
            self.watch(last, waker)?;
            watched = Some(last);
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Returns whether the request is granted at this moment.
    pub(crate) fn is_granted(&mut self) -> Result<bool, Error> {
        if self.ahead.is_empty() {
            return Ok(true);
        }
        if let Some(last) = self.last_ahead()? {
            self.table.handle.bury(last).map_err(|_| self.table.site.damaged())?;
        }
        if self.last_ahead()?.is_some() {
            return Ok(false);
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Blocks the thread until the request is granted. Returns false at the deadline, if there is
    /// one.
    pub(crate) fn is_granted_until(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        if self.ahead.is_empty() {
            return Ok(true);
        }
        while let Some(last) = self.last_ahead()? {
            if !self.table.watches.sleep(last, deadline).map_err(|_| self.table.site.damaged())? {
                return self.is_granted();
            }
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Records that all requests in the way have left, if the table is still the one that others
    /// use. In one that was cut, all seem to have left.
    fn note_grant(&self) -> Result<(), Error> {
        self.check_in_place()?;
        if !self.table.handle.memory.is_whole() {
            return Err(self.table.site.damaged());
        }
        self.table.note_grant(&self.seat);
        Ok(())
    }

    /// Returns the latest of the requests that this one still waits for.
    fn last_ahead(&mut self) -> Result<Option<Other>, Error> {
        self.table.shrink(&mut self.ahead)?;
        Ok(self.ahead.last().copied())
    }

    /// Arranges for `waker` to be called when a request has left, and no longer for any other one.
    fn watch(&mut self, other: Other, waker: &Waker) -> Result<(), Error> {
        let own = self.seat.own.ticket;
        if let Some(before) = self.watched.replace(other).filter(|before| *before != other) {
            self.table.watches.leave(before, own);
        }
        let watched = self.table.watches.watch(other, own, waker);
        watched.doing("start a thread to wait on", self.table.site.path())
    }

    /// Returns a flag that becomes true when the turn is given back.
    pub(crate) fn released(&self) -> Arc<AtomicBool> {
        self.released.get_or_init(Arc::default).clone()
    }

    /// Returns a descriptor that keeps the turn alive, for a child.
    pub(crate) fn share(&self) -> Result<OwnedFd, Error> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match &mut *shared {
            Some(own) => own,
            none => none.insert(self.table.share(&self.seat)?),
        };
        // The limit may allow fewer descriptors than that.
        let file = fcntl_dupfd_cloexec(&*own, INHERITED_FD_MIN).map_err(drop);
        let file = file.or_else(|()| own.try_clone().map(OwnedFd::from));
        file.doing("duplicate the descriptor of", self.table.site.path())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            self.table.watches.leave(watched, self.seat.own.ticket);
        }
        if let Some(released) = self.released.get() {
            released.store(true, Ordering::Release);
        }
        self.table.leave(&self.seat);
    }
}
