//! One grammar (C27): the verbs of an engine, of its requests on their way and of its guards mean
//! what they mean everywhere.

mod events;

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use treelock::{
    Access, Answer, Blocked, FenceGate, Node, Request, State, Wait,
    engine::{Engine, EngineError, Held, Pending, Severity},
};

use crate::{
    checks::{Named, run_all},
    judged::Judged,
    probe::{Found, Probe},
    subject::{Subject, assert_empty},
};

/// The checks of this module by name, each with an engine of its own.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        fn checks<'a, L: Engine, const EXACT: bool>(
            engine: &'a dyn Fn() -> Judged<L, EXACT>,
        ) -> Vec<Named<'a>> {
            vec![$((stringify!($check), Box::new(move || engine().$check()))),*]
        }
    };
}

checks![
    a_request_shows_its_ticket_while_it_waits,
    waiting_with_a_limit_keeps_the_place,
    giving_up_names_the_blocker_and_leaves_nothing,
    giving_up_after_the_grant_gives_the_guard,
    giving_up_before_asking_is_a_try,
    a_try_does_not_wait_and_leaves_nothing,
    a_pending_request_says_who_is_in_the_way,
    who_would_be_in_the_way_is_told_without_asking,
    a_request_may_have_as_many_roots_as_the_engine_says,
    guards_tell_what_they_hold,
    a_guard_is_not_lost,
    tokens_grow_with_conflicting_grants,
    what_is_released_is_free_when_the_answer_comes,
    what_is_dropped_is_free_when_the_lock_is_settled,
    an_answer_that_nobody_awaits_leaves_nothing,
    wakers_are_woken_and_dropped_outside_of_the_mutex,
    a_guard_and_a_request_outlive_their_lock,
    an_error_says_of_which_kind_it_is,
    events_tell_each_change_once,
    the_engine_finds_nothing_bad,
    a_closed_lock_can_be_used_again,
];

/// Runs all checks of this module.
///
/// # Panics
///
/// After all checks have run, with the names of those that failed; each has printed why.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, verbs};
///
/// verbs::every_verb_means_what_it_says(|| Judged::exact(TreeLock::new()));
/// ```
pub fn every_verb_means_what_it_says<L: Engine, const EXACT: bool>(
    engine: impl Fn() -> Judged<L, EXACT>,
) {
    run_all(checks(&engine));
}

/// Long enough to see that somebody waits.
const WAITING_SEEN: Duration = Duration::from_millis(5);

/// Enough roots to show that none is forgotten, for engines that allow any number.
const MANY_ROOTS: usize = 200;

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a good root").with_label(format!("write {root}"))
}

fn read(root: &str) -> Request {
    Request::new().read(root).expect("a good root").with_label(format!("read {root}"))
}

/// The words of the checks.
impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn answer<W: Wait>(&self, verb: impl FnOnce() -> W) -> W::Output {
        self.setting().answer(verb)
    }

    fn success<T>(&self, verb: impl FnOnce() -> Answer<Result<T, L::Error>>) -> T {
        self.setting().success(verb)
    }

    /// A request that has not asked yet.
    fn unasked(&self, request: &Request) -> L::Acquire {
        self.setting().within(|| self.lock().acquire(request))
    }

    /// A request in line.
    fn queue(&self, request: &Request) -> L::Acquire {
        let mut acquire = self.unasked(request);
        let start = Instant::now();
        while acquire.ticket().is_none() {
            assert!(self.waits(&mut acquire), "{request} should wait");
            let in_time = start.elapsed() < self.setting().answer_timeout();
            assert!(in_time, "{request} should be in line by now");
        }
        acquire
    }

    /// Whether a request still waits after a while.
    fn waits(&self, acquire: &mut L::Acquire) -> bool {
        self.setting().within(|| acquire.wait_timeout(WAITING_SEEN)).is_none()
    }

    fn granted(&self, acquire: &mut L::Acquire) -> L::Guard {
        self.setting().success(|| acquire)
    }

    fn hold(&self, request: &Request) -> L::Guard {
        self.granted(&mut self.unasked(request))
    }

    fn release(&self, guard: L::Guard) {
        self.answer(|| guard.release());
    }

    /// Drops a guard or a request, and waits until what it had is given back.
    fn discard<T>(&self, dropped: T) {
        self.setting().within(|| drop(dropped));
        self.settle();
    }

    fn settle(&self) {
        self.handles().iter().for_each(|lock| self.answer(|| lock.settled()));
    }

    fn blocker_of(&self, acquire: &L::Acquire) -> Option<Blocked> {
        self.success(|| acquire.blocked())
    }

    fn refused(&self, verb: impl FnOnce() -> Answer<Result<L::Guard, L::Error>>) -> Blocked {
        let error = self.answer(verb).expect_err("somebody is in the way");
        error.blocked().unwrap_or_else(|| panic!("it does not say who is: {error}")).clone()
    }

    fn live_count(&self) -> usize {
        self.snapshot().entries.len()
    }
}

/// The checks: of requests.
impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn a_request_shows_its_ticket_while_it_waits(self) {
        let holder = self.hold(&write("a"));
        let mut acquire = self.unasked(&write("a/b"));
        assert_eq!(acquire.ticket(), None, "it has not asked");
        assert!(self.waits(&mut acquire));
        self.discard(acquire);
        let mut acquire = self.queue(&write("a/b"));
        let snapshot = self.snapshot();
        let entry = snapshot.waiting().next().expect("it waits");
        assert_eq!(acquire.ticket(), Some(entry.ticket), "its ticket\n{snapshot}");
        self.release(holder);
        let guard = self.granted(&mut acquire);
        assert_eq!(guard.ticket(), entry.ticket, "its ticket when it was granted");
        assert_eq!(acquire.ticket(), None, "it was ready");
        self.release(guard);
        assert_empty(&self);
    }

    fn waiting_with_a_limit_keeps_the_place(self) {
        let holder = self.hold(&write("a"));
        let mut first = self.queue(&write("a/b"));
        let mut second = self.queue(&write("a"));
        let place = first.ticket();
        assert!(self.waits(&mut first) && self.waits(&mut second), "somebody holds it");
        let deadline = Instant::now() + WAITING_SEEN;
        let granted = self.setting().within(|| first.wait_deadline(deadline));
        assert!(granted.is_none(), "somebody holds it");
        assert_eq!(first.ticket(), place, "its place");
        self.release(holder);
        let guard = self.granted(&mut first);
        assert_eq!(Some(guard.ticket()), place, "its place");
        assert!(self.waits(&mut second), "the second waits for the first");
        self.release(guard);
        self.release(self.granted(&mut second));
        assert_empty(&self);
    }

    fn giving_up_names_the_blocker_and_leaves_nothing(self) {
        let holder = self.hold(&write("a"));
        let acquire = self.queue(&read("a/b"));
        let mut behind = self.queue(&write("a/b"));
        let blocked = self.refused(|| acquire.give_up());
        assert_eq!(blocked.label.as_deref(), Some("write a"), "{blocked}");
        assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), 1), "{blocked}");
        self.settle();
        assert_eq!(self.live_count(), 2, "the holder and the one behind");
        self.release(holder);
        self.release(self.granted(&mut behind));
        assert_empty(&self);
    }

    fn giving_up_after_the_grant_gives_the_guard(self) {
        let holder = self.hold(&write("a"));
        let acquire = self.queue(&write("a"));
        let ticket = acquire.ticket();
        self.release(holder);
        // Nobody has polled it since: it is granted, and does not know it yet.
        let guard = self.success(|| acquire.give_up());
        assert_eq!(Some(guard.ticket()), ticket, "the guard of another");
        assert_eq!(self.live_count(), 1, "the guard");
        self.release(guard);
        assert_empty(&self);
    }

    fn giving_up_before_asking_is_a_try(self) {
        let (first, second) = (self.unasked(&write("a")), self.unasked(&read("a")));
        let guard = self.success(|| first.give_up());
        let blocked = self.refused(|| second.give_up());
        assert_eq!(blocked.ticket, guard.ticket(), "{blocked}");
        self.settle();
        assert_eq!(self.live_count(), 1, "the guard");
        self.release(guard);
        assert_empty(&self);
    }

    fn a_try_does_not_wait_and_leaves_nothing(self) {
        let guard = self.success(|| self.lock().try_acquire(&write("a")));
        let blocked = self.refused(|| self.lock().try_acquire(&read("a/b")));
        assert_eq!((blocked.ticket, blocked.ahead), (guard.ticket(), 1), "{blocked}");
        assert_eq!(self.live_count(), 1, "the guard");
        self.release(guard);
        assert_empty(&self);
    }

    fn a_pending_request_says_who_is_in_the_way(self) {
        let holder = self.hold(&write("a"));
        let unasked = self.unasked(&write("a"));
        assert_eq!(self.blocker_of(&unasked), None, "it has not asked");
        self.discard(unasked);
        let first = self.queue(&write("a/b"));
        let later = self.queue(&read("a"));
        for (acquire, ahead) in [(&first, 1), (&later, 2)] {
            let blocked = self.blocker_of(acquire).expect("the holder is in the way");
            assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), ahead), "{blocked}");
            assert_eq!(blocked.state, State::Held, "{blocked}");
        }
        self.discard(later);
        self.release(holder);
        assert_eq!(self.blocker_of(&first), None, "granted, and not polled since");
        self.discard(first);
        assert_empty(&self);
    }

    fn who_would_be_in_the_way_is_told_without_asking(self) {
        let told = |request: &Request| self.success(|| self.lock().blocked(request));
        assert_eq!(told(&write("a")), None);
        assert_empty(&self);
        let holder = self.hold(&read("a"));
        let waiting = self.queue(&write("a/b"));
        assert_eq!(told(&read("a/c")), None);
        let blocked = told(&read("a/b/c")).expect("a writer waits there");
        assert_eq!((blocked.state, blocked.ahead), (State::Waiting, 1), "{blocked}");
        assert_eq!(told(&write("a")).map(|blocked| blocked.ahead), Some(2));
        assert_eq!(self.live_count(), 2, "nobody else has asked");
        self.discard(waiting);
        self.release(holder);
        assert_empty(&self);
    }

    fn a_request_may_have_as_many_roots_as_the_engine_says(self) {
        let root = |number: usize| format!("many/{number}");
        let count = L::MAX_ROOTS.min(MANY_ROOTS);
        let many = Request::new().writes((0..count).map(root)).expect("good roots");
        let guard = self.hold(&many);
        for number in [0, count - 1] {
            let blocked = self.success(|| self.lock().blocked(&read(&root(number))));
            assert!(blocked.is_some(), "root {number} of {count} is not held");
        }
        self.release(guard);
        assert_empty(&self);
    }
}

/// The checks: of guards.
impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn guards_tell_what_they_hold(self) {
        let request = write("a").read("b").expect("a good root");
        let acquire = self.unasked(&request);
        assert!(!format!("{acquire:?}").is_empty());
        self.discard(acquire);
        let guard = self.hold(&request);
        assert_eq!(guard.request(), &request);
        assert!(format!("{guard:?}").contains("write /a"), "{guard:?}");
        assert_eq!(self.snapshot().entries[0].ticket, guard.ticket(), "its ticket");
        self.release(guard);
        assert_empty(&self);
    }

    fn a_guard_is_not_lost(self) {
        let guard = self.hold(&write("a"));
        let mut lost = guard.lost();
        let mut is_lost = || self.setting().within(|| lost.wait_timeout(WAITING_SEEN)).is_some();
        assert!(guard.is_valid() && !is_lost(), "nobody took it");
        assert!(guard.is_valid(), "nobody took it");
        self.release(guard);
        assert!(!is_lost(), "released, not lost");
        assert_empty(&self);
    }

    /// C20: between nodes above and below one another too, and as the resource sees it.
    fn tokens_grow_with_conflicting_grants(self) {
        let mut gate = FenceGate::default();
        let mut made_before = self.unasked(&read("a/b"));
        let mut last = None;
        let mut check = |guard: &L::Guard| {
            let token = guard.token();
            let access = guard.request().roots().next().expect("a root").0;
            gate.check(access, token).expect("the token of the latest grant");
            if let Some(last) = last.replace(token) {
                assert!(last < token, "{token} comes after {last}");
                assert!(gate.check(Access::Write, last).is_err(), "{last} is too late");
            }
            assert_eq!(guard.token(), token, "it stays");
        };
        for _ in 0..3 {
            for request in [write("a"), read("a/b"), write("a/b/c"), read("/"), write("/")] {
                let guard = self.hold(&request);
                check(&guard);
                self.release(guard);
            }
        }
        // One that was made first and asks last, and one that is granted because another left.
        let holder = self.granted(&mut made_before);
        check(&holder);
        let mut next = self.queue(&write("a"));
        self.release(holder);
        let next = self.granted(&mut next);
        check(&next);
        self.release(next);
    }

    fn what_is_released_is_free_when_the_answer_comes(self) {
        for _ in self.handles() {
            let guard = self.hold(&write("a"));
            self.release(guard);
            assert_empty(&self);
            let guard = self.success(|| self.lock().try_acquire(&write("a")));
            self.release(guard);
        }
        assert_empty(&self);
    }

    fn what_is_dropped_is_free_when_the_lock_is_settled(self) {
        let holder = self.hold(&write("a"));
        let waiting = self.queue(&write("a"));
        self.discard(waiting);
        assert_eq!(self.live_count(), 1, "the holder");
        self.discard(holder);
        assert_empty(&self);
        let guard = self.success(|| self.lock().try_acquire(&write("a")));
        self.discard(guard);
        assert_empty(&self);
    }

    fn an_answer_that_nobody_awaits_leaves_nothing(self) {
        let within = |ask: &dyn Fn()| self.setting().within(ask);
        within(&|| drop(self.lock().try_acquire(&write("a"))));
        within(&|| drop(self.lock().blocked(&write("a"))));
        within(&|| drop(self.lock().snapshot()));
        self.settle();
        let holder = self.hold(&write("b"));
        within(&|| drop(self.queue(&write("b")).give_up()));
        within(&|| drop(self.queue(&write("b")).blocked()));
        within(&|| drop(holder.lost()));
        self.settle();
        assert_eq!(self.live_count(), 1, "the holder");
        self.discard(holder.release());
        assert_empty(&self);
    }

    /// C9, where it can be told: a late engine may need the thread that wakes to read its table.
    fn wakers_are_woken_and_dropped_outside_of_the_mutex(self) {
        if !EXACT {
            return;
        }
        let found = Found::default();
        let poll = |acquire: &mut L::Acquire| {
            let waker = Probe::waker(self.lock(), self.setting(), &found);
            self.setting().within(|| Pin::new(acquire).poll(&mut Context::from_waker(&waker)))
        };
        let holder = self.hold(&write("a"));
        let (mut first, mut second) = (self.unasked(&write("a")), self.unasked(&write("a")));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert_eq!(found.take(), [""; 0], "when they were polled at first");
        assert!(poll(&mut first).is_pending());
        assert_eq!(found.take(), [""; 0], "when another waker took its place");
        self.discard(second);
        assert_eq!(found.take(), [""; 0], "when its request left");
        self.release(holder);
        assert_eq!(found.take(), [""; 0], "when its request was granted");
        let Poll::Ready(granted) = poll(&mut first) else { panic!("it was granted") };
        self.release(granted.unwrap_or_else(|error| panic!("the engine failed: {error}")));
        assert_eq!(found.take(), [""; 0], "when its request was ready");
        assert_empty(&self);
    }

    /// C11: neither needs a handle, which another part of a program may drop at any time.
    fn a_guard_and_a_request_outlive_their_lock(self) {
        let guard = self.hold(&write("a"));
        let mut acquire = self.queue(&write("a"));
        let setting = self.setting().clone();
        setting.within(|| drop(self));
        assert!(guard.is_valid());
        setting.answer(|| guard.release());
        let guard = setting.success(|| &mut acquire);
        assert!(guard.is_valid());
        setting.answer(|| guard.release());
    }
}

/// The checks: of errors, and of the engine as a whole.
impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn an_error_says_of_which_kind_it_is(self) {
        let holder = self.hold(&write("a"));
        let tried = self.answer(|| self.lock().try_acquire(&read("a")));
        let error = tried.expect_err("the holder is in the way");
        assert!(error.is_timeout() && !error.is_lost() && !error.is_unavailable(), "{error:?}");
        let blocked = error.blocked().expect("a time-out names the blocker").clone();
        let sentence = error.to_string();
        assert!(sentence.contains("write a"), "it does not name the blocker: {sentence}");
        let cause = Error::source(&error).map(ToString::to_string);
        assert!(!cause.is_some_and(|cause| sentence.contains(&cause)), "said twice: {sentence}");
        assert_eq!(L::Error::from(blocked.clone()).blocked(), Some(&blocked));
        let refused = L::Error::from("..".parse::<Node>().expect_err("no node"));
        assert!(refused.blocked().is_none() && !refused.is_timeout(), "{refused:?}");
        assert!(!refused.is_lost() && !refused.is_unavailable(), "{refused:?}");
        self.release(holder);
        assert_empty(&self);
    }

    fn the_engine_finds_nothing_bad(self) {
        let guard = self.hold(&write("a"));
        for finding in self.success(|| self.lock().check()) {
            assert!(finding.severity < Severity::Bad || self.excuses(&finding), "{finding}");
            assert!(!finding.what.is_empty(), "a finding says what was found");
        }
        assert_eq!(self.live_count(), 1, "the holder");
        self.release(guard);
        assert_empty(&self);
    }

    fn a_closed_lock_can_be_used_again(self) {
        let guard = self.hold(&write("a"));
        self.setting().within(|| drop(guard));
        self.handles().iter().for_each(|lock| self.answer(|| lock.close()));
        assert_empty(&self);
        let guard = self.hold(&write("a"));
        assert!(guard.is_valid());
        self.release(guard);
        assert_empty(&self);
    }
}
