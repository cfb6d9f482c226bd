//! What happens to the live requests of a lock, one event after another: [`Events`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use crate::{
    sighting::{Sighting, State},
    wait::Wait,
};

/// Something that happened to a live request.
///
/// # Examples
///
/// See [`Events`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the clock of this host, as far as the engine knows.
    pub at: SystemTime,
    /// What happened.
    pub what: What,
}

/// What happened, and to which request. The ages in a [`Sighting`] are those at the time of the
/// event. `asked` is zero if it is unknown how long a held request had waited.
///
/// # Examples
///
/// See [`Events`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The request was live already when the listening began.
    Live(State, Sighting),
    /// The request was made. It is in line until it is granted, which may be at once.
    Asked(Sighting),
    /// The request was granted.
    Granted(Sighting),
    /// The request left: it was released or cancelled, or its owner died. The state is the one it
    /// had.
    Left(State, Sighting),
    /// Some events are missing, because the lock was faster than its listener. The events that
    /// follow bring the listener up to date, so only requests that came and left are unknown to it:
    /// at most this many, if that is known.
    Missed(Option<u64>),
}

impl Event {
    /// Returns an event. For engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use treelock::engine::{Event, What};
    ///
    /// let gap = Event::new(SystemTime::now(), What::Missed(Some(3)));
    /// assert!(gap.request().is_none());
    /// ```
    #[must_use]
    pub fn new(at: SystemTime, what: What) -> Event {
        Event { at, what }
    }

    /// Returns the request that it happened to; `None` if events are missing.
    ///
    /// # Examples
    ///
    /// See [`Events`].
    #[must_use]
    pub fn request(&self) -> Option<&Sighting> {
        match &self.what {
            What::Live(_, request)
            | What::Asked(request)
            | What::Granted(request)
            | What::Left(_, request) => Some(request),
            What::Missed(_) => None,
        }
    }

    /// Returns how long the request had waited: until it was granted, or until now. `None` if that
    /// is unknown.
    ///
    /// # Examples
    ///
    /// See [`Events`].
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        let request = self.request()?;
        match (&self.what, request.granted) {
            (What::Left(State::Held, _) | What::Live(State::Held, _), None) => None,
            // Nobody is granted before asking: then it is unknown when this one asked.
            (_, granted) => request.asked.checked_sub(granted.unwrap_or_default()),
        }
    }

    /// Returns how long the request had held its lock. `None` if it did not, or if that is unknown.
    ///
    /// # Examples
    ///
    /// See [`Events`].
    #[must_use]
    pub fn held(&self) -> Option<Duration> {
        self.request()?.granted
    }
}

/// The events of a lock, in order: first the requests that are live, then each change once.
///
/// [`next`](Events::next) returns a future, which can be awaited or waited for. If the listener is
/// slower than the lock, it misses events, and an event says so ([`What::Missed`]). Dropping this
/// ends the listening. A lock without a listener pays nothing for it.
///
/// # Examples
///
/// ```
/// use treelock::engine::{Engine, What};
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let _first = lock.acquire(&Request::new().read("src")?).wait();
/// let mut events = Engine::events(&lock).wait()?;
/// let event = events.next().wait()?;
/// assert!(matches!(event.what, What::Live(..)));
///
/// let _second = lock.acquire(&Request::new().read("src/lib")?.with_label("tests")).wait();
/// let event = events.next().wait()?; // in async code: .await?
/// assert!(matches!(event.what, What::Asked(_)));
/// assert_eq!(event.request().and_then(|request| request.request.label()), Some("tests"));
/// # Ok::<(), treelock::Error>(())
/// ```
#[must_use = "dropping the events ends the listening"]
pub struct Events<E>(Box<Source<E>>);

/// Polls for the next event.
type Source<E> = dyn FnMut(&mut Context<'_>) -> Poll<Result<Event, E>> + Send;

impl<E: 'static> Events<E> {
    /// Returns the events that a function polls for. The context's waker has to be woken when
    /// polling again would be useful. For engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{convert::Infallible, task::Poll, time::Duration};
    /// use treelock::{Wait, engine::Events};
    ///
    /// let mut silence = Events::<Infallible>::of(|_| Poll::Pending);
    /// assert!(silence.next().wait_timeout(Duration::ZERO).is_none());
    /// ```
    pub fn of(
        poll: impl FnMut(&mut Context<'_>) -> Poll<Result<Event, E>> + Send + 'static,
    ) -> Events<E> {
        Events(Box::new(poll))
    }

    /// Returns the future of the next event.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read. The listening goes on: the next call tries again, and
    /// nothing is missed without an event that says so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    ///
    /// # Examples
    ///
    /// See [`Events`].
    #[expect(clippy::should_implement_trait, reason = "an iterator could not be awaited")]
    pub fn next(&mut self) -> Next<'_, E> {
        Next(self)
    }

    /// Returns the events with their errors changed by `change`. For engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::Poll;
    /// use treelock::{Wait, engine::Events};
    ///
    /// let failing = Events::of(|_| Poll::Ready(Err("no table")));
    /// let mut events = failing.map_err(str::len);
    /// assert_eq!(events.next().wait().unwrap_err(), 8);
    /// ```
    pub fn map_err<F: 'static>(self, change: impl Fn(E) -> F + Send + 'static) -> Events<F> {
        let mut poll = self.0;
        Events::of(move |context| poll(context).map_err(&change))
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The future of the next event: see [`Events::next`].
///
/// # Examples
///
/// See [`Events`].
#[must_use = "a future does nothing until it is awaited or waited for"]
pub struct Next<'a, E>(&'a mut Events<E>);

impl<E> Future for Next<'_, E> {
    type Output = Result<Event, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        (self.0.0)(context)
    }
}

impl<E> Wait for Next<'_, E> {}

impl<E> fmt::Debug for Next<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}
