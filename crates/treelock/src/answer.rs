//! The answer to a question that some engine needs the network for: [`Answer`].

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::wait::Wait;

/// The answer to a verb: a future of `T`, which a thread can also [`wait`](Wait::wait) for.
///
/// All verbs return one but `acquire`, in all engines. Those of a lock in memory are ready at once.
///
/// # Cancel safety
///
/// It may be dropped at any time. What it asked for may have happened by then; a lock that it got is given
/// back.
///
/// # Panics
///
/// If polled again after it was ready.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = TreeLock::new();
/// let request = Request::new().write("photos")?;
/// let guard = lock.try_acquire(&request).await?; // in async code
/// drop(guard);
/// let guard = lock.try_acquire(&request).wait()?; // in a thread
/// # Ok(())
/// # }
/// ```
#[must_use = "an engine may not ask before its answer is awaited or waited for"]
pub struct Answer<T>(State<T>);

enum State<T> {
    Ready(T),
    Coming(Pin<Box<dyn Future<Output = T> + Send>>),
    Never,
    Given,
}

/// No value within is ever pinned.
impl<T> Unpin for Answer<T> {}

impl<T> Answer<T> {
    /// Returns an answer that is known already. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Answer, Wait};
    ///
    /// assert_eq!(Answer::ready(7).wait(), 7);
    /// ```
    #[inline]
    pub fn ready(answer: T) -> Answer<T> {
        Answer(State::Ready(answer))
    }

    /// Returns the answer that this future gives. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Answer, Wait};
    ///
    /// assert_eq!(Answer::of(async { 7 }).wait(), 7);
    /// ```
    pub fn of(future: impl Future<Output = T> + Send + 'static) -> Answer<T> {
        Answer(State::Coming(Box::pin(future)))
    }

    /// Returns an answer that never comes, as that to the question when a lock in memory is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Answer, Wait};
    ///
    /// assert_eq!(Answer::<()>::never().wait_timeout(Duration::ZERO), None);
    /// ```
    pub fn never() -> Answer<T> {
        Answer(State::Never)
    }

    /// Returns the answer with `change` applied to it. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Answer, Wait};
    ///
    /// assert_eq!(Answer::ready(7).map(|number| number + 1).wait(), 8);
    /// ```
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Answer<U>
    where
        T: 'static,
    {
        match self.0 {
            State::Ready(answer) => Answer::ready(change(answer)),
            State::Coming(future) => Answer::of(async move { change(future.await) }),
            State::Never => Answer::never(),
            State::Given => given(),
        }
    }
}

#[cold]
fn given() -> ! {
    panic!("an `Answer` was polled after it was ready")
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let answer = match &mut self.0 {
            State::Never => return Poll::Pending,
            State::Coming(future) => ready!(future.as_mut().poll(context)),
            State::Ready(_) | State::Given => match mem::replace(&mut self.0, State::Given) {
                State::Ready(answer) => return Poll::Ready(answer),
                _ => given(),
            },
        };
        self.0 = State::Given;
        Poll::Ready(answer)
    }
}

impl<T> Wait for Answer<T> {}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Ready(_) => "ready",
            State::Coming(_) => "coming",
            State::Never => "never",
            State::Given => "given",
        };
        f.debug_struct("Answer").field("state", &state).finish_non_exhaustive()
    }
}
