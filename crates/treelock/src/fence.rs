//! Fencing: what protects a resource from a holder that lost its lock and does not know it.
//!
//! A lock that outlives a process gives every grant a number that only grows. The holder shows it with
//! each access, and the resource refuses whoever comes with an older one than it has seen. The idea is
//! Lampson's, and well told by M. Kleppmann in "How to do distributed locking" (2016). With shared
//! access the rule needs two numbers, since readers do not order one another.

use std::{error::Error, fmt, num::ParseIntError, str::FromStr};

use crate::access::Access;

/// The number of a grant, for the resource to refuse who comes too late. Of two grants that conflict, the
/// later one has the larger token; so it is also between a node and what lies above or below it.
///
/// # Examples
///
/// ```
/// use treelock::FencingToken;
///
/// let token: FencingToken = std::env::var("TREELOCK_TOKEN").unwrap_or("7".into()).parse()?;
/// assert!(token < FencingToken::new(8));
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct FencingToken(u64);

impl FencingToken {
    /// Returns the token with this number: one that a resource has stored, or an engine gives.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::FencingToken;
    /// assert_eq!(FencingToken::new(7).get(), 7);
    /// ```
    #[must_use]
    pub const fn new(number: u64) -> FencingToken {
        FencingToken(number)
    }

    /// Returns the number, to be sent or stored.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::FencingToken;
    /// assert_eq!(FencingToken::from(7).get(), 7);
    /// ```
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for FencingToken {
    fn from(number: u64) -> FencingToken {
        FencingToken(number)
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> u64 {
        token.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FencingToken {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<FencingToken, ParseIntError> {
        text.parse().map(FencingToken)
    }
}

/// The resource's side: accepts an access with its token, or refuses it because somebody with a later lock
/// was here already.
///
/// Keep one for each thing that is protected as a whole (a file, a row, a record), stored with it and changed
/// in the same transaction. A write is accepted iff its token is at least that of every read and write
/// accepted before; a read iff its token is at least that of every write accepted before.
///
/// # Examples
///
/// ```
/// use treelock::{Access, FenceGate, FencingToken};
///
/// let mut gate = FenceGate::default();
/// gate.check(Access::Write, FencingToken::new(34))?;
/// // A holder that slept while its lock went to another wakes up, and is refused.
/// let stale = gate.check(Access::Write, FencingToken::new(33)).unwrap_err();
/// assert_eq!(stale.to_string(), "write with token 33 is refused: a write with token 34 was here before");
/// gate.check(Access::Write, FencingToken::new(34))?; // the holder may come again
/// # Ok::<(), treelock::Stale>(())
/// ```
///
/// The two numbers are all of it: make it of what is stored, check, and store it again with what the access
/// changes, in one step that nobody can come between. The crate `treelock-etcd` has two examples: `fenced_row`
/// with a row of a database, `fenced_object` with the conditional put of an object store.
///
/// ```
/// use treelock::{Access, FenceGate, FencingToken};
///
/// let row: [u64; 2] = [36, 34];
/// let [max_read, max_write] = row.map(FencingToken::new);
/// let mut gate = FenceGate { max_read, max_write };
/// assert!(gate.check(Access::Write, FencingToken::new(35)).is_err());
/// gate.check(Access::Write, FencingToken::new(37))?;
/// assert_eq!([gate.max_read.get(), gate.max_write.get()], [36, 37]);
/// # Ok::<(), treelock::Stale>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FenceGate {
    /// The largest token of a read that was accepted.
    pub max_read: FencingToken,
    /// The largest token of a write that was accepted.
    pub max_write: FencingToken,
}

impl FenceGate {
    /// Accepts an access and remembers its token.
    ///
    /// # Errors
    ///
    /// [`Stale`] if somebody with a later lock that conflicts was here before. Nothing is changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Access, FenceGate, FencingToken};
    ///
    /// let mut gate = FenceGate::default();
    /// gate.check(Access::Read, FencingToken::new(8))?;
    /// gate.check(Access::Read, FencingToken::new(7))?; // readers do not order one another
    /// assert!(gate.check(Access::Write, FencingToken::new(7)).is_err());
    /// # Ok::<(), treelock::Stale>(())
    /// ```
    pub fn check(&mut self, access: Access, token: FencingToken) -> Result<(), Stale> {
        let writer = (Access::Write, self.max_write);
        let reader = (Access::Read, self.max_read);
        let (rivals, own) = match access {
            Access::Read => (&[writer][..], &mut self.max_read),
            Access::Write => (&[writer, reader][..], &mut self.max_write),
        };
        if let Some((by, seen)) = rivals.iter().find(|(_, seen)| token < *seen) {
            return Err(Stale { access, token, seen: *seen, by: *by });
        }
        *own = token.max(*own);
        Ok(())
    }
}

/// An access that came too late: its lock was lost, and a later one that conflicts was used.
///
/// # Examples
///
/// See [`FenceGate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stale {
    /// What was asked of the resource.
    pub access: Access,
    /// The token it came with.
    pub token: FencingToken,
    /// The larger token that was seen before.
    pub seen: FencingToken,
    /// What the larger token came for.
    pub by: Access,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stale { access, token, seen, by } = self;
        write!(
            f,
            "{access} with token {token} is refused: a {by} with token {seen} was here before"
        )
    }
}

impl Error for Stale {}
