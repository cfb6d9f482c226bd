//! The directory of a lock: its table is opened when somebody first asks, and again when another
//! table has taken its place.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use treelock::{Blocked, Request};

use crate::{
    error::Error,
    table::{Reply, Table},
    turn::Turn,
};

/// How often the table is opened again for one request. If it is replaced more often than that
/// while one asks, it is not seen for what it is.
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
            // Not even dropped: that would interfere with the process that opened it.
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

    /// Enters a request. A request that may not wait is told who is in the way, if anybody is.
    pub(crate) fn ask(
        &self,
        request: &Request,
        may_wait: bool,
    ) -> Result<Result<Turn, Blocked>, Error> {
        let mut replaced = 0;
        loop {
            let table = self.table()?;
            match table.ask(request, may_wait) {
                Ok(Reply::Entered(seat, blockers)) => {
                    return Ok(Ok(Turn::new(table, request.clone(), seat, blockers)));
                }
                Ok(Reply::Refused(blocked)) => return Ok(Err(blocked)),
                Ok(Reply::Gone) if replaced < REOPENINGS_MAX => {}
                Ok(Reply::Gone) => return Err(table.site.lost()),
                // Opening it again mends it, if nobody uses it.
                Err(Error::Damaged { .. }) if replaced == 0 => {}
                Err(error) => return Err(error),
            }
            replaced += 1;
            self.forget(&table);
        }
    }

    /// Enters a request if nobody is in the way.
    pub(crate) fn attempt(&self, request: &Request) -> Result<Turn, Error> {
        Ok(self.ask(request, false)??)
    }

    /// Closes the files that are kept to be used again. The next request opens the table anew.
    pub(crate) fn close(&self) {
        let old = self.opened().take_if(|table| table.site.is_own());
        drop(old);
    }
}
