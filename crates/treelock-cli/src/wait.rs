//! Waits for the grant.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request};
use treelock_any::{Acquire, Error, Guard};

use crate::{
    announcer::Announcer,
    blocker::{ANSWER_TIMEOUT, Blocker, Sight},
    error::Failure,
    events::{Event, Events, Signal},
    exit, keeper,
    lock::Lock,
    nested,
    waiting_line::WaitingLine,
    waiting_notes::WaitingNotes,
};

/// The variable that holds the fencing token for the command.
pub(crate) const TOKEN: &str = "TREELOCK_TOKEN";
/// How often to ask for the blocker while it is unknown and has to be shown.
const BLOCKER_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often to ask a cluster for the blocker.
const CLUSTER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How a wait ended.
pub(crate) enum Outcome {
    Granted(Guard),
    /// The time was up.
    Blocked(Box<Blocked>),
    /// A signal asks this process to end.
    Signalled(i32),
}

/// What to say of a wait, beside what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Nothing,
    /// On a terminal a line that is redrawn, elsewhere a sentence now and then.
    Waiting,
    /// The first sentence at once; also the grant and the release.
    Everything,
}

/// Why there is no outcome.
enum Stop {
    Signalled(Signal),
    Failed(Failure),
}

impl From<Signal> for Stop {
    fn from(signal: Signal) -> Stop {
        Stop::Signalled(signal)
    }
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Waits until the request is granted, the time is up, or a signal arrives. Gives the request back
/// unless it is granted.
pub(crate) fn wait(
    lock: &Lock,
    request: &Request,
    limit: Option<Duration>,
    events: &Events,
    (speech, announcer): (Speech, &Announcer),
) -> Result<Outcome, Failure> {
    let asked = match limit {
        Some(Duration::ZERO) => attempt(lock, request, events),
        limit => stand_in_line(lock, request, limit, events, (speech, announcer)),
    };
    match asked {
        Ok(Outcome::Blocked(mut blocked)) => {
            keeper::name_in(lock, &mut blocked);
            Ok(Outcome::Blocked(blocked))
        }
        Ok(outcome) => Ok(outcome),
        Err(Stop::Signalled(signal)) => Ok(Outcome::Signalled(signal.number)),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn attempt(lock: &Lock, request: &Request, events: &Events) -> Result<Outcome, Stop> {
    let answer = lock.call(events, || lock.any.try_acquire(request))?;
    answered(lock, answer, None, events)
}

fn stand_in_line(
    lock: &Lock,
    request: &Request,
    limit: Option<Duration>,
    events: &Events,
    (speech, announcer): (Speech, &Announcer),
) -> Result<Outcome, Stop> {
    let started = Instant::now();
    // A time too long to represent is as good as no limit.
    let deadline = limit.and_then(|limit| started.checked_add(limit));
    let mut acquire = lock.any.acquire(request);
    let mut waiting = None;
    loop {
        let polled = lock.call(events, || events.poll(Pin::new(&mut acquire)))?;
        if let Poll::Ready(result) = polled {
            return outcome(result);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            break;
        }
        let waiting =
            waiting.get_or_insert_with(|| Waiting::new(lock, started, (speech, announcer)));
        waiting.refuse_to_wait_for_ever(lock, request, &acquire, events)?;
        let next = waiting.look(lock, &acquire, events)?;
        let until = [next, deadline].into_iter().flatten().min();
        if let Some(Event::Signal(signal)) = events.next(until) {
            return Ok(Outcome::Signalled(signal.number));
        }
    }
    drop(waiting);
    let answer = lock.call(events, || acquire.give_up())?;
    answered(lock, answer, Instant::now().checked_add(ANSWER_TIMEOUT), events)
}

/// What is shown while the request waits.
struct Waiting<'a> {
    blocker: Blocker,
    line: Option<WaitingLine>,
    notes: Option<WaitingNotes<'a>>,
    /// The tickets that this process runs under, until it is known that this request does not wait
    /// for them.
    enclosing: BTreeSet<u64>,
}

impl Waiting<'_> {
    fn new<'a>(
        lock: &Lock,
        started: Instant,
        (speech, announcer): (Speech, &'a Announcer),
    ) -> Waiting<'a> {
        let line = WaitingLine::new(started);
        let has_line = line.is_some();
        let is_said_at_once = speech == Speech::Everything;
        let notes = || WaitingNotes::new(announcer, started, is_said_at_once);
        let age_max = match lock.is_of_this_host() {
            true => Duration::ZERO,
            false => CLUSTER_CHECK_INTERVAL,
        };
        Waiting {
            blocker: Blocker::new(age_max),
            line: line.filter(|_| speech != Speech::Nothing),
            notes: (speech != Speech::Nothing && !has_line).then(notes),
            enclosing: nested::enclosing(lock),
        }
    }

    /// Fails if this process would wait for a run that it is part of.
    fn refuse_to_wait_for_ever(
        &mut self,
        lock: &Lock,
        request: &Request,
        acquire: &Acquire,
        events: &Events,
    ) -> Result<(), Stop> {
        let Some(ticket) = acquire.ticket().filter(|_| !self.enclosing.is_empty()) else {
            return Ok(());
        };
        // What does not answer now is asked again.
        let answer = lock.call(events, || lock.any.snapshot())?;
        let Some(snapshot) = events.within(ANSWER_TIMEOUT, answer) else { return Ok(()) };
        let enclosing = std::mem::take(&mut self.enclosing);
        match nested::chain(&snapshot?, (request, ticket), &enclosing) {
            None => Ok(()),
            Some(chain) => Err(Failure::new(exit::DEADLOCK, chain).into()),
        }
    }

    /// Shows the blocker, if that is wanted. Returns when to look again.
    fn look(
        &mut self,
        lock: &Lock,
        acquire: &Acquire,
        events: &Events,
    ) -> Result<Option<Instant>, Stop> {
        let line = self.line.as_mut().and_then(WaitingLine::if_visible);
        let notes = self.notes.as_mut().filter(|notes| notes.is_due());
        if line.is_some() || notes.is_some() {
            match lock.call(events, || self.blocker.look(acquire, events))?? {
                Sight::Nobody => {}
                Sight::Blocked(blocked) => {
                    let mut blocked = blocked.clone();
                    keeper::name_in(lock, &mut blocked);
                    line.into_iter().for_each(|line| line.show(&blocked));
                    notes.into_iter().for_each(|notes| notes.say(&blocked));
                }
                // The place in line is kept meanwhile, as long as the lease lives.
                Sight::Silence => {
                    line.into_iter().for_each(WaitingLine::show_silence);
                    notes.into_iter().for_each(WaitingNotes::say_silence);
                }
            }
        }
        let now = Instant::now();
        let soon = now + BLOCKER_CHECK_INTERVAL;
        let refresh = self.line.as_ref().map(|line| line.next_refresh(now));
        let note = self.notes.as_ref().map(|notes| notes.next().max(soon));
        let check = (!self.enclosing.is_empty()).then_some(soon);
        Ok([refresh, note, check].into_iter().flatten().min())
    }
}

/// Waits for the last answer, for at most this long.
fn answered(
    lock: &Lock,
    mut answer: impl Future<Output = Result<Guard, Error>> + Unpin,
    until: Option<Instant>,
    events: &Events,
) -> Result<Outcome, Stop> {
    loop {
        match lock.call(events, || events.poll(Pin::new(&mut answer)))? {
            Poll::Ready(Err(error)) if until.is_some() && error.is_unavailable() => {
                return Err(silence().into());
            }
            Poll::Ready(result) => return outcome(result),
            Poll::Pending => {}
        }
        match events.next(until) {
            Some(Event::Signal(signal)) => return Ok(Outcome::Signalled(signal.number)),
            Some(Event::Child | Event::Woken) => {}
            None => return Err(silence().into()),
        }
    }
}

fn outcome(result: Result<Guard, Error>) -> Result<Outcome, Stop> {
    match result {
        Ok(guard) => Ok(Outcome::Granted(guard)),
        Err(Error::Blocked(blocked)) => Ok(Outcome::Blocked(blocked)),
        Err(error) => Err(error.into()),
    }
}

fn silence() -> Failure {
    Failure::new(
        exit::CANNOT_LOCK,
        "the time is up, but etcd does not say who is in the way; check that it is running",
    )
}
