//! Giving up: the guard, or who is in the way.
//!
//! A request that gives up gets the guard if all who were in its way have left, as the next poll
//! would have found. Otherwise one look at the table says who is in the way, and the request
//! leaves. This is done at the call.
//!
//! There is a third case: somebody's byte is still locked, but the table does not name a request
//! that conflicts. Somebody is just leaving, and has freed its cells but not yet unlocked its byte;
//! that takes microseconds, unless it is stopped in between. Or its record was destroyed.
//! [`GivingUp`] waits for that byte to be unlocked, as every waiter does, but for a limited time.
//! No runtime lends it a timer, so a thread sleeps for that time and wakes it. After that nobody
//! can say who is in the way: the table is damaged.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::Answer;

use crate::{
    error::{Doing, Error},
    guard::Guard,
    turn::Turn,
};

/// How long a leaver may take from freeing its cells to unlocking its byte.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives up a request that is in line.
pub(crate) fn give_up(mut turn: Turn) -> Answer<Result<Guard, Error>> {
    match turn.is_granted().and_then(|granted| settle(&turn, granted)) {
        Ok(true) => Answer::ready(Ok(Guard::new(turn))),
        Ok(false) => Answer::of(GivingUp { turn: Some(turn), timer: None }),
        Err(error) => Answer::ready(Err(error)),
    }
}

/// Returns whether the turn is granted; an error if somebody is in its way, and `false` if nobody
/// knows.
fn settle(turn: &Turn, granted: bool) -> Result<bool, Error> {
    match granted {
        true => Ok(true),
        false => turn.blocked()?.map_or(Ok(false), |blocked| Err(blocked.into())),
    }
}

/// A request that has given up while nobody knows who is in its way.
struct GivingUp {
    /// `None` once the future was ready.
    turn: Option<Turn>,
    timer: Option<Timer>,
}

impl Future for GivingUp {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut turn = self.turn.take().expect("not polled after it was ready");
        let granted = turn.is_granted_or_watched(context.waker())?;
        if settle(&turn, granted)? {
            return Poll::Ready(Ok(Guard::new(turn)));
        }
        let site = &turn.table.site;
        if self.timer.is_none() {
            let started = Timer::start().doing("start a thread to wait at", site.path())?;
            self.timer = Some(started);
        }
        if self.timer.as_ref().is_some_and(|timer| timer.is_over(context.waker())) {
            return Poll::Ready(Err(site.damaged()));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}

/// A thread that sleeps for [`LEAVING_TIMEOUT`] and then wakes whoever polled last.
struct Timer {
    end: Instant,
    waker: Arc<Mutex<Waker>>,
}

impl Timer {
    fn start() -> io::Result<Timer> {
        let end = Instant::now() + LEAVING_TIMEOUT;
        let waker = Arc::new(Mutex::new(Waker::noop().clone()));
        // If nobody waits any more, the thread wakes nobody.
        let weak = Arc::downgrade(&waker);
        let thread = thread::Builder::new().name("treelock-give-up".into());
        thread.spawn(move || {
            thread::sleep(LEAVING_TIMEOUT);
            if let Some(waker) = weak.upgrade() {
                let waker = replace(&waker, Waker::noop().clone());
                waker.wake();
            }
        })?;
        Ok(Timer { end, waker })
    }

    /// Returns whether the time is over. If not, `waker` is called when it is.
    fn is_over(&self, waker: &Waker) -> bool {
        drop(replace(&self.waker, waker.clone()));
        Instant::now() >= self.end
    }
}

/// Puts a waker into the place of another. Returns the other, which is used when the mutex is free
/// (C9).
fn replace(place: &Mutex<Waker>, waker: Waker) -> Waker {
    std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), waker)
}
