//! Events that a thread of their own reads: [`Events::reading`], and [`Events::looking`] for
//! engines that have nothing but snapshots.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{
    changes::Changes,
    events::{Event, Events},
    snapshot::Snapshot,
};

/// How long one read may wait. The thread notices that late that its listener has gone.
const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// The shortest time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A look may be slow, because it shows many requests. The thread sleeps this many times as long as
/// it looks, so that looking takes only a small part of a processor, or of the table's latch.
const SLEEP_PER_LOOK: u32 = 10;

/// What the thread and its listener share.
struct Shared<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    /// What the listener has not had yet. While there is anything, the thread does not read. So a
    /// slow listener costs no memory; what it misses is for the reader to tell.
    queue: VecDeque<Result<Event, E>>,
    waker: Option<Waker>,
    /// Whether the listener has gone.
    is_over: bool,
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the listener has had everything. Returns whether it still listens.
    fn wait_until_had(&self) -> bool {
        let waits = |state: &mut State<E>| !state.is_over && !state.queue.is_empty();
        let state = self.changed.wait_while(self.lock(), waits);
        !state.unwrap_or_else(PoisonError::into_inner).is_over
    }

    fn tell(&self, events: impl IntoIterator<Item = Result<Event, E>>) {
        let mut state = self.lock();
        state.queue.extend(events);
        let waker = if state.queue.is_empty() { None } else { state.waker.take() };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Ends the thread when the listener goes.
struct Listener<E>(Arc<Shared<E>>);

impl<E> Drop for Listener<E> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl<E> Listener<E> {
    fn poll(&self, context: &Context<'_>) -> Poll<Result<Event, E>> {
        // Cloning and dropping a waker run foreign code, so neither is done under the mutex.
        let waker = context.waker().clone();
        let mut state = self.0.lock();
        if let Some(event) = state.queue.pop_front() {
            if state.queue.is_empty() {
                self.0.changed.notify_all();
            }
            return Poll::Ready(event);
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<E: Send + 'static> Events<E> {
    /// Returns the events that `read` returns, which is called on a thread of its own, whenever the
    /// listener has had everything. It may block for as long as its argument says, and returns
    /// nothing if nothing has happened. For engine authors.
    ///
    /// # Errors
    ///
    /// Fails if no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{thread, time::SystemTime};
    /// use treelock::Wait;
    /// use treelock::engine::{Event, Events, What};
    ///
    /// let mut events = Events::reading(|limit| {
    ///     thread::sleep(limit);
    ///     Err("the table is gone")
    /// })?;
    /// assert_eq!(events.next().wait().unwrap_err(), "the table is gone");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reading(
        mut read: impl FnMut(Duration) -> Result<Vec<Event>, E> + Send + 'static,
    ) -> io::Result<Events<E>> {
        let state = State { queue: VecDeque::new(), waker: None, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let listener = Listener(shared.clone());
        thread::Builder::new().name("treelock-events".into()).spawn(move || {
            while shared.wait_until_had() {
                match read(READ_TIMEOUT) {
                    Ok(events) => shared.tell(events.into_iter().map(Ok)),
                    Err(error) => shared.tell([Err(error)]),
                }
            }
        })?;
        Ok(Events::of(move |context| listener.poll(context)))
    }

    /// Returns the events that are found by taking snapshots again and again, on a thread that ends
    /// with the listening: at most 50 times a second, and not while the listener is behind. For
    /// engine authors; it is what [`Engine::events`](crate::engine::Engine::events) does.
    ///
    /// # Errors
    ///
    /// Fails if no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use treelock::{Request, TreeLock, Wait, engine::Events};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.acquire(&Request::new().write("src")?).wait();
    /// let mut events = Events::looking(move || Ok::<_, Infallible>(lock.snapshot().wait()))?;
    /// assert!(events.next().wait()?.request().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn looking(
        mut look: impl FnMut() -> Result<Snapshot, E> + Send + 'static,
    ) -> io::Result<Events<E>> {
        let mut changes = Changes::default();
        let mut due = Instant::now();
        Events::reading(move |limit| {
            let start = Instant::now();
            let left = due.saturating_duration_since(start);
            if left > limit {
                thread::sleep(limit);
                return Ok(Vec::new());
            }
            thread::sleep(left);
            let start = start + left;
            let snapshot = look();
            let now = Instant::now();
            due = now + LOOK_INTERVAL.max((now - start) * SLEEP_PER_LOOK);
            Ok(changes.since(snapshot?, now))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{events::What, lock::TreeLock, request::Request, wait::Wait as _};

    #[test]
    fn events_come_without_asking_and_the_thread_ends_with_its_listener() {
        let lock = TreeLock::new();
        let (alive, ended) = mpsc::channel::<()>();
        let looked_at = lock.clone();
        let mut events = Events::looking(move || {
            let _alive = &alive;
            Ok::<_, &str>(looked_at.snapshot().wait())
        })
        .unwrap();
        let guard = lock.acquire(&Request::new().write("a").unwrap()).wait();
        let first = events.next().wait().unwrap();
        match first.what {
            What::Live(..) => {}
            What::Asked(_) => {
                let granted = events.next().wait().unwrap();
                assert!(matches!(granted.what, What::Granted(_)), "{granted:?}");
            }
            other => panic!("{other:?}"),
        }
        drop(guard);
        let left = events.next().wait().unwrap();
        assert!(matches!(left.what, What::Left(crate::sighting::State::Held, _)), "{left:?}");
        drop(events);
        assert_eq!(ended.recv(), Err(mpsc::RecvError));
    }

    #[test]
    fn a_failure_is_told_and_looking_goes_on() {
        let lock = TreeLock::new();
        let _guard = lock.acquire(&Request::new().write("a").unwrap()).wait();
        let mut fails = true;
        let mut events = Events::looking(move || match std::mem::take(&mut fails) {
            true => Err("no table"),
            false => Ok(lock.snapshot().wait()),
        })
        .unwrap();
        assert_eq!(events.next().wait().unwrap_err(), "no table");
        assert!(matches!(events.next().wait().unwrap().what, What::Live(..)));
    }
}
