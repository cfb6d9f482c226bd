//! An engine that is right by being simple, and wrong in one way if asked to. It scans all live
//! requests under one mutex; a failed try takes no ticket, and tickets begin anywhere.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::{Access, Blocked, Entry, Request, Snapshot, State, engine::Sighting};
use treelock_conformance::{Polled, Subject, Wakes, poll_until};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Readers pass waiting writers.
    Barges,
    /// Everybody waits for everybody who waits.
    WaitsFalsely,
    /// Who is granted because a waiting one left is not woken.
    LosesWakes,
    /// All who wait are woken whenever somebody leaves.
    WakesInVain,
    /// A cancelled waiter stays in line.
    LeaksTheCancelled,
    /// A grant that nobody saw is kept.
    SwallowsGrants,
    /// The ticket is taken when the future is made.
    AsksTooEarly,
    /// The waker of the first poll is kept.
    KeepsTheOldWaker,
    /// Names the last one in the way.
    NamesTheWrongBlocker,
    /// Counts those who are not in the way too.
    CountsWrongly,
    /// A failed try stays in line.
    LeavesTraces,
    /// The highest ticket is given again when its owner has left.
    UsesTicketsAgain,
    /// Looks, and only then leaps.
    Races,
    /// A snapshot of two moments.
    TearsSnapshots,
}

struct Live {
    ticket: u64,
    request: Request,
    held: bool,
    waker: Option<Waker>,
    /// As a snapshot shows it. The ticket and the state are filled in then.
    entry: Entry,
}

struct Table {
    live: Vec<Live>,
    last: u64,
    flaw: Flaw,
}

/// Of a request, whatever its ticket.
fn sighting(request: &Request) -> Sighting {
    let (request, asked) = (request.clone(), Duration::ZERO);
    Sighting { ticket: 0, request, asked, granted: None, process: None }
}

impl Table {
    /// The earlier live requests that conflict with the one at `index`.
    fn in_the_way(&self, index: usize) -> Vec<usize> {
        let request = &self.live[index].request;
        let only_reads = request.roots().all(|(access, _)| access == Access::Read);
        let in_the_way = |i: &usize| {
            let earlier = &self.live[*i];
            match self.flaw {
                Flaw::Barges if only_reads && !earlier.held => false,
                Flaw::WaitsFalsely if !earlier.held && request.roots().count() > 0 => true,
                _ => earlier.request.conflict(request).is_some(),
            }
        };
        (0..index).filter(in_the_way).collect()
    }

    fn enter(&mut self, request: &Request) -> u64 {
        let highest = self.live.iter().map(|live| live.ticket).max().unwrap_or(0);
        let before = if self.flaw == Flaw::UsesTicketsAgain { highest } else { self.last };
        self.last = before + 1;
        let entry = Snapshot::of(vec![sighting(request)]).entries.remove(0);
        let request = request.clone();
        self.live.push(Live { ticket: self.last, request, held: false, waker: None, entry });
        self.settle();
        self.last
    }

    /// Grants what can be granted; returns who is to be woken.
    fn settle(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for index in 0..self.live.len() {
            if !self.live[index].held && self.in_the_way(index).is_empty() {
                self.live[index].held = true;
                wakers.extend(self.live[index].waker.take());
            }
        }
        wakers
    }

    fn leave(&mut self, ticket: u64) -> Vec<Waker> {
        let index = self.find(ticket);
        let left = self.live.remove(index);
        let mut wakers = self.settle();
        match self.flaw {
            Flaw::LosesWakes if !left.held => wakers.clear(),
            Flaw::WakesInVain => {
                wakers.extend(self.live.iter_mut().filter_map(|live| live.waker.take()));
            }
            _ => {}
        }
        wakers
    }

    fn find(&self, ticket: u64) -> usize {
        self.live.iter().position(|live| live.ticket == ticket).expect("live")
    }

    /// What the one at `index` is told, who does not wait.
    fn blocked(&self, index: usize) -> Blocked {
        let in_the_way = self.in_the_way(index);
        let named = match self.flaw {
            Flaw::NamesTheWrongBlocker => in_the_way.last(),
            _ => in_the_way.first(),
        };
        let blocker = &self.live[*named.expect("it was not granted")];
        let everything = Request::new().write("/").expect("the root");
        let request = match self.flaw {
            Flaw::WaitsFalsely => &everything,
            _ => &blocker.request,
        };
        let told = Blocked::of(&[sighting(request)], &self.live[index].request, u64::MAX);
        let mut blocked = told.expect("they conflict");
        blocked.ticket = blocker.ticket;
        blocked.label = blocker.entry.label.clone();
        blocked.state = if blocker.held { State::Held } else { State::Waiting };
        let miscounts = self.flaw == Flaw::CountsWrongly;
        blocked.ahead = if miscounts { index } else { in_the_way.len() };
        blocked
    }

    fn entries(&self, indices: std::ops::Range<usize>) -> Vec<Entry> {
        let entry = |index: usize| {
            let live = &self.live[index];
            let mut entry = live.entry.clone();
            entry.ticket = live.ticket;
            entry.state = if live.held { State::Held } else { State::Waiting };
            entry.waits_for = self.in_the_way(index).first().map(|first| self.live[*first].ticket);
            entry
        };
        indices.filter(|index| *index < self.live.len()).map(entry).collect()
    }
}

/// Wakes either exactly or, if not `EXACT`, whoever waits whenever somebody leaves, a little later
/// and from another thread.
pub(crate) struct Naive<const EXACT: bool> {
    shared: Shared,
}

/// The table, and who wakes late.
#[derive(Clone)]
struct Shared {
    table: Arc<Mutex<Table>>,
    late: Option<Sender<Vec<Waker>>>,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn leave(&self, ticket: u64) {
        let wakers = self.with(|table| {
            let mut wakers = table.leave(ticket);
            if self.late.is_some() && table.flaw != Flaw::LosesWakes {
                wakers.extend(table.live.iter_mut().filter_map(|live| live.waker.take()));
            }
            wakers
        });
        match &self.late {
            Some(late) => late.send(wakers).expect("the thread lives as long"),
            None => wakers.into_iter().for_each(Waker::wake),
        }
    }
}

impl<const EXACT: bool> Naive<EXACT> {
    pub(crate) fn new(flaw: Flaw) -> Naive<EXACT> {
        let table = Table { live: Vec::new(), last: 41, flaw };
        let late = (!EXACT).then(|| {
            let (late, wakers) = channel::<Vec<Waker>>();
            thread::spawn(move || wakers.iter().flatten().for_each(Waker::wake));
            late
        });
        Naive { shared: Shared { table: Arc::new(Mutex::new(table)), late } }
    }

    fn flaw(&self) -> Flaw {
        self.shared.with(|table| table.flaw)
    }
}

pub(crate) struct Guard {
    ticket: u64,
    shared: Shared,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.leave(self.ticket);
    }
}

struct Acquire {
    shared: Shared,
    request: Request,
    /// `None` before the first poll and when the guard has it.
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Guard;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Guard> {
        let shared = self.shared.clone();
        let ticket = self.ticket.take();
        let (ticket, held) = shared.with(|table| {
            let ticket = ticket.unwrap_or_else(|| table.enter(&self.request));
            let index = table.find(ticket);
            let keeps = table.flaw == Flaw::KeepsTheOldWaker;
            let live = &mut table.live[index];
            if !(live.held || keeps && live.waker.is_some()) {
                live.waker = Some(context.waker().clone());
            }
            (ticket, live.held)
        });
        if held {
            return Poll::Ready(Guard { ticket, shared });
        }
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let keeps = self.shared.with(|table| match table.live[table.find(ticket)].held {
            true => table.flaw == Flaw::SwallowsGrants,
            false => table.flaw == Flaw::LeaksTheCancelled,
        });
        if !keeps {
            self.shared.leave(ticket);
        }
    }
}

impl<const EXACT: bool> Subject for Naive<EXACT> {
    type Task = Polled<Guard>;
    type Guard = Guard;

    const WAKES: Wakes = match EXACT {
        true => Wakes::Exact,
        // Short, so that the flaws are found soon.
        false => Wakes::Within(Duration::from_millis(500)),
    };

    fn acquire(&self, request: &Request) -> Polled<Guard> {
        let early = self.flaw() == Flaw::AsksTooEarly;
        let ticket = early.then(|| self.shared.with(|table| table.enter(request)));
        Polled::new(Acquire { shared: self.shared.clone(), request: request.clone(), ticket })
    }

    fn try_acquire(&self, request: &Request) -> Result<Guard, Blocked> {
        let asked = self.shared.with(|table| {
            let before = table.last;
            let ticket = table.enter(request);
            let index = table.find(ticket);
            if table.live[index].held {
                return Ok(ticket);
            }
            let blocked = table.blocked(index);
            if table.flaw != Flaw::LeavesTraces {
                table.live.pop();
                table.last = before;
            }
            Err(blocked)
        });
        let mut ticket = asked?;
        if self.flaw() == Flaw::Races {
            self.shared.leave(ticket);
            thread::yield_now();
            ticket = self.shared.with(|table| {
                let ticket = table.enter(request);
                let index = table.find(ticket);
                table.live[index].held = true;
                ticket
            });
        }
        Ok(Guard { ticket, shared: self.shared.clone() })
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Guard, Blocked> {
        let granted = poll_until(self, request, Instant::now() + timeout);
        granted.map_or_else(|| self.try_acquire(request), Ok)
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let (front, count) = self.shared.with(|table| {
            let count = table.live.len();
            let front = if table.flaw == Flaw::TearsSnapshots { count / 2 } else { count };
            (table.entries(0..front), count)
        });
        snapshot.entries = front;
        if snapshot.entries.len() < count {
            thread::yield_now();
            let last = snapshot.entries.last().map_or(0, |entry| entry.ticket);
            let rest = self.shared.with(|table| table.entries(0..table.live.len()));
            snapshot.entries.extend(rest.into_iter().filter(|entry| entry.ticket > last));
        }
        snapshot
    }
}
