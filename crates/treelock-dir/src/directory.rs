//! The directory of a lock. Its table is opened by the first request, and again when another table
//! has taken its place.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use treelock::{Blocked, Request};

use crate::{
    ask::Reply,
    error::Error,
    file,
    table::{Seat, Table},
    turn::Turn,
};

/// How long an attempt waits for a latch that others have. It is mostly held for less than a
/// microsecond, but the process that has it may have to wait for a processor.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// How often the table is opened again for one request. If it is replaced more often than that
/// during one request, the request fails.
const REOPENINGS_MAX: usize = 100;

/// A directory that has a lock table, or will have one.
pub(crate) struct Directory {
    path: PathBuf,
    table: Mutex<Option<Arc<Table>>>,
}

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Directory {
        Directory { path, table: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<Table>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Result<Arc<Table>, Error> {
        let mut opened = self.opened();
        match &*opened {
            Some(table) if table.site.is_own() => return Ok(table.clone()),
            // It is not even dropped: that would interfere with the process that opened it.
            Some(_) => std::mem::forget(opened.take()),
            None => {}
        }
        Ok(opened.insert(Arc::new(Table::open(&self.path)?)).clone())
    }

    /// Forgets a table that is no longer in its place.
    fn forget(&self, table: &Arc<Table>) {
        let old = self.opened().take_if(|known| Arc::ptr_eq(known, table));
        drop(old);
    }

    /// Enters a request. A request that may not wait is refused if another is in its way. Waits for
    /// the latch until the deadline, if there is one.
    pub(crate) fn ask(
        &self,
        request: &Request,
        may_wait: bool,
        deadline: Option<Instant>,
    ) -> Result<Result<Turn, Blocked>, Error> {
        let mut replaced = 0;
        loop {
            let table = file::until_passed(deadline, || self.table())?;
            match table.ask(request, may_wait, deadline) {
                Ok(Reply::Entered { own, token, ahead }) => {
                    let seat = Seat { own, token };
                    return Ok(Ok(Turn::new(table, request.clone(), seat, ahead)));
                }
                Ok(Reply::Refused(blocked)) => return Ok(Err(blocked)),
                Ok(Reply::Stuck(process)) => {
                    return Err(Error::Stuck { path: table.site.path().into(), process });
                }
                Ok(Reply::Gone) if replaced < REOPENINGS_MAX => {}
                Ok(Reply::Gone) => return Err(table.site.lost()),
                // Opening it again repairs it, if it is not in use.
                Err(Error::Damaged { .. }) if replaced == 0 => {}
                Err(error) => return Err(error),
            }
            replaced += 1;
            self.forget(&table);
        }
    }

    /// Enters a request if nothing is in its way.
    pub(crate) fn attempt(&self, request: &Request) -> Result<Turn, Error> {
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        Ok(self.ask(request, false, Some(deadline))??)
    }

    /// Closes the files that are kept for reuse. The next request opens the table again.
    pub(crate) fn close(&self) {
        let old = self.opened().take_if(|table| table.site.is_own());
        drop(old);
    }
}
