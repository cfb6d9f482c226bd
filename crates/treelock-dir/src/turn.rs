//! One live request, waiting or held, and how it is left.

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

/// The least number of an inherited descriptor, above those that scripts use (`exec 8> log`): a
/// program that opens a number of its own choice closes what had it.
const INHERITED_FD_MIN: i32 = 100;

/// A live request of this process, waiting or held. Dropping it gives back whatever it has, in one
/// step (C10).
pub(crate) struct Turn {
    pub(crate) table: Arc<Table>,
    pub(crate) request: Request,
    /// `Some` until it is dropped.
    seat: Option<Seat>,
    /// The tickets that it still waits for, the earliest first.
    blockers: Vec<u64>,
    /// Whether it has been given back, for the futures that tell of its loss, if there are any.
    released: OnceLock<Arc<AtomicBool>>,
    /// Whether a child has its open file description too.
    shared: AtomicBool,
    /// The ticket whose leaving wakes it.
    watched: Option<u64>,
}

impl Turn {
    pub(crate) fn new(table: Arc<Table>, request: Request, seat: Seat, blockers: Vec<u64>) -> Turn {
        table.watches.enter(seat.ticket);
        let (released, shared) = (OnceLock::new(), AtomicBool::new(false));
        Turn { table, request, seat: Some(seat), blockers, released, shared, watched: None }
    }

    pub(crate) fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("there until it is dropped")
    }

    /// Checks that the table is still the one that others use.
    fn check_in_place(&self) -> Result<(), Error> {
        match self.table.site.is_in_place() {
            true => Ok(()),
            false => Err(self.table.site.lost()),
        }
    }

    /// Returns who is in the way at this moment, as the table says.
    pub(crate) fn blocked(&self) -> Result<Option<Blocked>, Error> {
        self.check_in_place()?;
        let Seat { file, ticket, .. } = self.seat();
        // By its own descriptor, for there may be no other free.
        let sightings = look::live_seen_from(file, self.table.site.path())?;
        Ok(Blocked::of(&sightings, &self.request, *ticket))
    }

    /// Returns whether it is granted. If not, `waker` is called when there is reason to ask again.
    pub(crate) fn is_granted_or_watched(&mut self, waker: &Waker) -> Result<bool, Error> {
        if self.blockers.is_empty() {
            return Ok(true);
        }
        let mut watched = None;
        while let Some(last) = self.last_blocker()? {
            if watched == Some(last) {
                return Ok(false);
            }
            // It may leave before it is watched, so it is looked at once more.
            self.watch(last, waker)?;
            watched = Some(last);
        }
        self.note_grant()?;
        Ok(true)
    }

    /// Returns whether it is granted at this moment.
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

    /// Notes that all who were in the way have left, if the table is still the one that others use.
    fn note_grant(&self) -> Result<(), Error> {
        self.check_in_place()?;
        self.table.note_grant(self.seat());
        Ok(())
    }

    /// Returns the latest of the tickets that it still waits for.
    fn last_blocker(&mut self) -> Result<Option<u64>, Error> {
        let seat = self.seat.as_ref().expect("there until it is dropped");
        self.table.shrink(seat, &mut self.blockers)?;
        Ok(self.blockers.last().copied())
    }

    /// Has `waker` called when a ticket has left, and for no other ticket any more.
    fn watch(&mut self, ticket: u64, waker: &Waker) -> Result<(), Error> {
        let own = self.seat().ticket;
        if let Some(before) = self.watched.replace(ticket).filter(|before| *before != ticket) {
            self.table.watches.leave(before, own);
        }
        let watched = self.table.watches.watch(ticket, own, waker);
        watched.doing("start a thread to wait at", self.table.site.path())
    }

    /// Returns what becomes true when the turn is given back.
    pub(crate) fn released(&self) -> Arc<AtomicBool> {
        self.released.get_or_init(Arc::default).clone()
    }

    /// Returns one more descriptor of the turn's open file description, for a child.
    pub(crate) fn share(&self) -> Result<OwnedFd, Error> {
        let own = &self.seat().file;
        // Fewer descriptors than that may be allowed.
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
