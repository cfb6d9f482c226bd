//! Implements the engine traits for [`EtcdLock`].

use treelock::{
    Answer, Blocked, FencingToken, Request, Snapshot,
    engine::{Engine, EngineError, Events, Finding, Held, Pending},
};

use crate::{
    acquire::Acquire, error::Error, guard::Guard, lock::EtcdLock, protocol::wish::OPERATIONS_MAX,
};

impl Engine for EtcdLock {
    type Acquire = Acquire;
    type Guard = Guard;
    type Error = Error;

    /// All roots are created in one transaction, one operation each.
    const MAX_ROOTS: usize = OPERATIONS_MAX;

    fn acquire(&self, request: &Request) -> Acquire {
        EtcdLock::acquire(self, request)
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        EtcdLock::try_acquire(self, request)
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        EtcdLock::blocked(self, request)
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        EtcdLock::snapshot(self)
    }

    fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        EtcdLock::events(self)
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        EtcdLock::check(self)
    }

    fn settled(&self) -> Answer<()> {
        EtcdLock::settled(self)
    }

    fn close(&self) -> Answer<()> {
        EtcdLock::close(self)
    }
}

impl Pending for Acquire {
    type Guard = Guard;
    type Error = Error;

    fn ticket(&self) -> Option<u64> {
        Acquire::ticket(self)
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        Acquire::blocked(self)
    }

    fn give_up(self) -> Answer<Result<Guard, Error>> {
        Acquire::give_up(self)
    }
}

impl Held for Guard {
    fn request(&self) -> &Request {
        Guard::request(self)
    }

    fn ticket(&self) -> u64 {
        Guard::ticket(self)
    }

    fn token(&self) -> FencingToken {
        Guard::token(self)
    }

    fn is_valid(&self) -> bool {
        Guard::is_valid(self)
    }

    fn lost(&self) -> Answer<()> {
        Guard::lost(self)
    }

    fn release(self) -> Answer<()> {
        Guard::release(self)
    }
}

impl EngineError for Error {
    fn blocked(&self) -> Option<&Blocked> {
        Error::blocked(self)
    }

    fn is_timeout(&self) -> bool {
        Error::is_timeout(self)
    }

    fn is_lost(&self) -> bool {
        Error::is_lost(self)
    }

    fn is_unavailable(&self) -> bool {
        Error::is_unavailable(self)
    }
}
