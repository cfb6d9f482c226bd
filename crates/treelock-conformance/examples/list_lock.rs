//! An engine in its simplest form: a mutex and a list of all live requests. It keeps every promise
//! but those of cost (C7), and passes the whole suite. ENGINES.md, at the root of the repository,
//! goes through it step by step.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use treelock::{
    Answer, Blocked, Error, FencingToken, Request, Snapshot, Wait,
    engine::{Engine, Finding, Held, Pending, Sighting, wake_all},
};
use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};

/// A live request: in line, or held since it was granted.
#[derive(Debug)]
struct Live {
    ticket: u64,
    request: Request,
    asked: Instant,
    granted: Option<Instant>,
    waker: Option<Waker>,
}

/// All live requests, the earliest first. It wakes nobody: it returns whom to wake.
#[derive(Debug, Default)]
struct Table {
    live: Vec<Live>,
    last_ticket: u64,
}

impl Table {
    /// Puts a request in line, and grants it if nobody is in its way. Returns its ticket.
    fn enter(&mut self, request: Request) -> u64 {
        self.last_ticket += 1;
        let (ticket, asked) = (self.last_ticket, Instant::now());
        self.live.push(Live { ticket, request, asked, granted: None, waker: None });
        self.grant(); // nobody but the new one, which has no waker yet
        ticket
    }

    /// Removes a request, whether it holds or waits. Returns it, and whom to wake.
    fn leave(&mut self, ticket: u64) -> (Live, Vec<Waker>) {
        let index = self.live.iter().position(|live| live.ticket == ticket).expect("leaves once");
        (self.live.remove(index), self.grant())
    }

    fn find(&mut self, ticket: u64) -> &mut Live {
        self.live.iter_mut().find(|live| live.ticket == ticket).expect("live as long as its turn")
    }

    /// Rule C1, word by word: a request waits exactly for the earlier live requests that conflict
    /// with it, and is granted as soon as there are none.
    fn grant(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for index in 0..self.live.len() {
            let (earlier, rest) = self.live.split_at_mut(index);
            let waits = earlier.iter().any(|it| it.request.conflict(&rest[0].request).is_some());
            if rest[0].granted.is_none() && !waits {
                rest[0].granted = Some(Instant::now());
                wakers.extend(rest[0].waker.take());
            }
        }
        wakers
    }

    /// Who would be in the way of a request with this ticket.
    fn blocked(&self, request: &Request, ticket: u64) -> Option<Blocked> {
        Blocked::of(&self.sightings(), request, ticket)
    }

    /// All live requests, as snapshots and errors are made of them.
    fn sightings(&self) -> Vec<Sighting> {
        let sighting = |live: &Live| Sighting {
            ticket: live.ticket,
            request: live.request.clone(),
            asked: live.asked.elapsed(),
            granted: live.granted.map(|granted| granted.elapsed()),
            process: None, // all of them are in this one
        };
        self.live.iter().map(sighting).collect()
    }
}

/// A live request of ours. A future keeps it while it waits, and then it is the guard. Dropping it
/// gives back whatever it has by then: a place in the line, a grant that nobody has seen, or the
/// lock (C10). So nothing else has to care how a request ends.
#[derive(Debug)]
#[must_use = "dropping a turn gives up its place or its lock at once"]
struct Turn {
    lock: ListLock,
    ticket: u64,
    request: Request,
}

impl Turn {
    /// Has `waker` called at the grant. Returns whether the request is granted already.
    fn register(&self, waker: &Waker) -> bool {
        // To clone or drop a waker is to run code of an executor: not under the mutex (C9).
        let mut waker = Some(waker.clone());
        self.lock.table(|table| {
            let live = table.find(self.ticket);
            if live.granted.is_none() {
                std::mem::swap(&mut live.waker, &mut waker);
            }
            live.granted.is_some()
        })
    }

    fn blocked(&self) -> Option<Blocked> {
        self.lock.table(|table| table.blocked(&self.request, self.ticket))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (_left, wakers) = self.lock.table(|table| table.leave(self.ticket));
        wake_all(wakers, || ()); // by now the mutex is free
    }
}

/// A lock over all sub-trees of one tree, in the memory of one process. Clones are the same lock.
#[derive(Clone, Debug, Default)]
struct ListLock(Arc<Mutex<Table>>);

impl ListLock {
    fn table<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn turn(&self, request: &Request, ticket: u64) -> Turn {
        Turn { lock: self.clone(), ticket, request: request.clone() }
    }
}

impl Engine for ListLock {
    type Acquire = Acquire;
    type Guard = Turn;
    type Error = Error;

    fn acquire(&self, request: &Request) -> Acquire {
        Acquire { lock: self.clone(), request: request.clone(), turn: None }
    }

    /// Looks and enters in one step, so that nobody comes in between. A request that would have to
    /// wait is never in the list, so it cannot leave a trace there (C14).
    fn try_acquire(&self, request: &Request) -> Answer<Result<Turn, Error>> {
        let entered = self.table(|table| match table.blocked(request, u64::MAX) {
            Some(blocked) => Err(Error::from(blocked)),
            None => Ok(table.enter(request.clone())),
        });
        Answer::ready(entered.map(|ticket| self.turn(request, ticket)))
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        Answer::ready(Ok(self.table(|table| table.blocked(request, u64::MAX))))
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        Answer::ready(Ok(Snapshot::of(self.table(|table| table.sightings()))))
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        Answer::ready(Ok(vec![Finding::good("the lock is in the memory of this process")]))
    }
}

/// A request on its way to its guard.
#[derive(Debug)]
struct Acquire {
    lock: ListLock,
    request: Request,
    /// `None` before the first poll, and after the grant was seen.
    turn: Option<Turn>,
}

impl Future for Acquire {
    type Output = Result<Turn, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let turn = self.turn.take().unwrap_or_else(|| {
            let ticket = self.lock.table(|table| table.enter(self.request.clone()));
            self.lock.turn(&self.request, ticket)
        });
        // The grant may have come at any time, so one step looks for it and registers the waker.
        // That of the last poll counts, since the task may have moved.
        if turn.register(context.waker()) {
            return Poll::Ready(Ok(turn));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}

impl Wait for Acquire {}

impl Pending for Acquire {
    type Guard = Turn;
    type Error = Error;

    fn ticket(&self) -> Option<u64> {
        self.turn.as_ref().map(|turn| turn.ticket)
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        Answer::ready(Ok(self.turn.as_ref().and_then(Turn::blocked)))
    }

    fn give_up(mut self) -> Answer<Result<Turn, Error>> {
        let Some(turn) = self.turn.take() else { return self.lock.try_acquire(&self.request) };
        Answer::ready(match turn.blocked() {
            None => Ok(turn),
            Some(blocked) => Err(Error::from(blocked)), // and the turn leaves the line
        })
    }
}

impl Held for Turn {
    fn request(&self) -> &Request {
        &self.request
    }

    fn ticket(&self) -> u64 {
        self.ticket
    }

    /// What conflicts is granted in the order of tickets, so a ticket is a token (C20).
    fn token(&self) -> FencingToken {
        FencingToken::new(self.ticket)
    }

    fn is_valid(&self) -> bool {
        true // nothing but this process can take away what is in its memory
    }

    fn lost(&self) -> Answer<()> {
        Answer::never()
    }

    fn release(self) -> Answer<()> {
        drop(self);
        Answer::ready(())
    }
}

/// Has the suite judge it: `cargo run -p treelock-conformance --example list_lock`.
fn main() {
    let engine = || Judged::exact(ListLock::default());
    random::holders_are_exactly_the_models(100, 100, engine);
    scenarios::every_scenario_prints_what_it_says(engine);
    threads::many_threads_keep_the_rule_at_every_moment(4, 200, engine());
    leaving::every_way_to_leave_leaves_nothing(100, engine);
    verbs::every_verb_means_what_it_says(engine);
    println!("ListLock passes random, scenarios, threads, leaving and verbs");
}

/// CI runs it as a test, so it cannot stop passing unseen.
#[test]
fn the_suite_passes_it() {
    main();
}
