//! One grammar (C27): the verbs of an engine, of its requests on their way and of its guards mean what they
//! mean everywhere.

use std::time::{Duration, Instant};

use treelock::{
    Access, Blocked, FenceGate, Request, State, Wait,
    engine::{Engine, EngineError, Held, Pending, Severity},
};

use crate::{
    checks::{Named, run_all},
    judged::Judged,
    subject::{STUCK, Subject, assert_empty},
};

/// The checks of this module by name, each with an engine of its own.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        fn checks<'a, L: Engine, const EXACT: bool>(
            engine: &'a dyn Fn() -> Judged<L, EXACT>,
        ) -> Vec<Named<'a>> {
            vec![$((stringify!($check), Box::new(move || $check(&engine())))),*]
        }
    };
}

checks![
    waiting_with_a_limit_keeps_the_place,
    giving_up_names_the_blocker_and_leaves_nothing,
    giving_up_after_the_grant_gives_the_guard,
    giving_up_before_asking_is_a_try,
    a_pending_request_says_who_is_in_the_way,
    who_would_be_in_the_way_is_told_without_asking,
    guards_tell_what_they_hold,
    tokens_grow_with_conflicting_grants,
    an_error_says_of_which_kind_it_is,
    an_answer_that_nobody_awaits_leaves_nothing,
    the_engine_checks_its_place,
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
const MOMENT: Duration = Duration::from_millis(5);

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a good root").with_label(format!("write {root}"))
}

fn read(root: &str) -> Request {
    Request::new().read(root).expect("a good root").with_label(format!("read {root}"))
}

/// The words of the checks, each within the engine's setting.
impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn answered<W: Wait>(&self, mut what: W) -> W::Output {
        self.enter(|| what.wait_timeout(STUCK)).expect("an answer in time")
    }

    fn hold(&self, request: &Request) -> L::Guard {
        self.answered(self.lock().acquire(request)).expect("an engine that works")
    }

    /// A request in line.
    fn queue(&self, request: &Request) -> L::Acquire {
        let mut acquire = self.lock().acquire(request);
        let start = Instant::now();
        while acquire.ticket().is_none() {
            assert!(self.waits(&mut acquire), "{request} should wait");
            assert!(start.elapsed() < STUCK, "{request} should be in line by now");
        }
        acquire
    }

    /// Whether a request still waits after a moment.
    fn waits(&self, acquire: &mut L::Acquire) -> bool {
        self.enter(|| acquire.wait_timeout(MOMENT)).is_none()
    }

    fn release(&self, guard: L::Guard) {
        self.answered(guard.release());
    }

    /// Drops what is on its way, and sees it gone.
    fn leave(&self, acquire: L::Acquire) {
        drop(acquire);
        self.settle();
    }

    fn settle(&self) {
        self.handles().iter().for_each(|lock| self.answered(lock.settled()));
    }

    fn blocker_of(&self, acquire: &L::Acquire) -> Option<Blocked> {
        self.answered(acquire.blocked()).expect("an engine that works")
    }
}

fn waiting_with_a_limit_keeps_the_place<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    let holder = engine.hold(&write("a"));
    let mut first = engine.queue(&write("a/b"));
    let place = first.ticket();
    let mut second = engine.queue(&write("a"));
    assert!(engine.waits(&mut first) && engine.waits(&mut second));
    assert_eq!(first.ticket(), place, "it kept its place");
    engine.release(holder);
    let guard = engine.answered(&mut first).expect("an engine that works");
    assert_eq!(Some(guard.ticket()), place, "it kept its place");
    assert!(engine.waits(&mut second), "the second waits for the first");
    let deadline = Instant::now() + MOMENT;
    assert!(engine.enter(|| second.wait_deadline(deadline)).is_none());
    engine.release(guard);
    let second = engine.answered(&mut second).expect("an engine that works");
    engine.release(second);
    assert_empty(engine);
}

fn giving_up_names_the_blocker_and_leaves_nothing<L: Engine, const EXACT: bool>(
    engine: &Judged<L, EXACT>,
) {
    let holder = engine.hold(&write("a"));
    let acquire = engine.queue(&read("a/b"));
    let mut behind = engine.queue(&write("a/b"));
    let error = engine.answered(acquire.give_up()).expect_err("the holder is in the way");
    let blocked = error.blocked().expect("who was in the way");
    assert_eq!(blocked.label.as_deref(), Some("write a"), "{blocked}");
    assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), 1), "{blocked}");
    engine.settle();
    assert_eq!(engine.snapshot().entries.len(), 2, "the holder and the one behind");
    engine.release(holder);
    let behind = engine.answered(&mut behind).expect("nobody is in its way any more");
    engine.release(behind);
    assert_empty(engine);
}

fn giving_up_after_the_grant_gives_the_guard<L: Engine, const EXACT: bool>(
    engine: &Judged<L, EXACT>,
) {
    let holder = engine.hold(&write("a"));
    let acquire = engine.queue(&write("a"));
    let ticket = acquire.ticket();
    engine.release(holder);
    // Nobody has polled it since: it is granted, and does not know it yet.
    let guard = engine.answered(acquire.give_up()).expect("it was granted");
    assert_eq!(Some(guard.ticket()), ticket);
    assert_eq!(engine.snapshot().held().count(), 1);
    engine.release(guard);
    assert_empty(engine);
}

fn giving_up_before_asking_is_a_try<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    let guard = engine.answered(engine.lock().acquire(&write("a")).give_up());
    let guard = guard.expect("nobody is in the way");
    let refused = engine.answered(engine.lock().acquire(&read("a")).give_up());
    assert!(refused.expect_err("somebody is in the way").blocked().is_some());
    engine.settle();
    assert_eq!(engine.snapshot().entries.len(), 1);
    engine.release(guard);
    assert_empty(engine);
}

fn a_pending_request_says_who_is_in_the_way<L: Engine, const EXACT: bool>(
    engine: &Judged<L, EXACT>,
) {
    let holder = engine.hold(&write("a"));
    let unasked = engine.lock().acquire(&write("a"));
    assert_eq!((unasked.ticket(), engine.blocker_of(&unasked)), (None, None), "not asked yet");
    engine.leave(unasked);
    let first = engine.queue(&write("a/b"));
    let later = engine.queue(&read("a"));
    for (acquire, ahead) in [(&first, 1), (&later, 2)] {
        let blocked = engine.blocker_of(acquire).expect("the holder is in the way");
        assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), ahead), "{blocked}");
        assert_eq!(blocked.state, State::Held, "{blocked}");
    }
    engine.leave(later);
    engine.release(holder);
    assert_eq!(engine.blocker_of(&first), None, "granted, and not polled since");
    engine.leave(first);
    assert_empty(engine);
}

fn who_would_be_in_the_way_is_told_without_asking<L: Engine, const EXACT: bool>(
    engine: &Judged<L, EXACT>,
) {
    let told = |request: &Request| {
        engine.answered(engine.lock().blocked(request)).expect("an engine that works")
    };
    assert_eq!(told(&write("a")), None);
    assert_empty(engine);
    let holder = engine.hold(&read("a"));
    let waiting = engine.queue(&write("a/b"));
    assert_eq!(told(&read("a/c")), None);
    let blocked = told(&read("a/b/c")).expect("a writer waits there");
    assert_eq!((blocked.state, blocked.ahead), (State::Waiting, 1), "{blocked}");
    assert_eq!(told(&write("a")).map(|blocked| blocked.ahead), Some(2));
    assert_eq!(engine.snapshot().entries.len(), 2, "nobody has asked");
    engine.leave(waiting);
    engine.release(holder);
}

fn guards_tell_what_they_hold<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    let request = write("a").read("b").expect("a good root");
    let acquire = engine.lock().acquire(&request);
    assert!(!format!("{acquire:?}").is_empty());
    let guard = engine.answered(acquire).expect("an engine that works");
    assert_eq!(guard.request(), &request);
    assert!(format!("{guard:?}").contains("write /a"), "{guard:?}");
    assert_eq!(engine.snapshot().entries[0].ticket, guard.ticket());
    assert!(guard.is_valid());
    let mut lost = guard.lost();
    assert_eq!(engine.enter(|| lost.wait_timeout(MOMENT)), None, "not lost");
    engine.release(guard);
    assert_eq!(engine.enter(|| lost.wait_timeout(MOMENT)), None, "released, not lost");
    assert_empty(engine);
}

/// C20: between nodes above and below one another too, and for the resource.
fn tokens_grow_with_conflicting_grants<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    let mut gate = FenceGate::default();
    let mut stale = None;
    for _ in 0..3 {
        for (access, root) in [
            (Access::Write, "a"),
            (Access::Read, "a/b"),
            (Access::Write, "a/b/c"),
            (Access::Read, "/"),
            (Access::Write, "/"),
        ] {
            let request = if access == Access::Write { write(root) } else { read(root) };
            let guard = engine.hold(&request);
            gate.check(access, guard.token()).expect("the latest grant");
            if let Some(stale) = stale.replace(guard.token()) {
                assert!(stale < guard.token(), "{stale} was before {}", guard.token());
                assert!(gate.check(Access::Write, stale).is_err(), "too late");
            }
            engine.release(guard);
        }
    }
}

fn an_error_says_of_which_kind_it_is<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    let holder = engine.hold(&write("a"));
    let tried = engine.answered(engine.lock().try_acquire(&read("a")));
    let error = tried.expect_err("the holder is in the way");
    assert!(error.is_timeout() && !error.is_lost() && !error.is_unavailable(), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("write a"), "{sentence}");
    assert!(std::error::Error::source(&error).is_none_or(|s| s.to_string() != sentence));
    let refused = L::Error::from("..".parse::<treelock::Node>().expect_err("no node"));
    assert!(refused.blocked().is_none() && !refused.is_timeout(), "{refused:?}");
    assert!(!refused.is_lost() && !refused.is_unavailable(), "{refused:?}");
    engine.release(holder);
}

fn an_answer_that_nobody_awaits_leaves_nothing<L: Engine, const EXACT: bool>(
    engine: &Judged<L, EXACT>,
) {
    drop(engine.lock().try_acquire(&write("a")));
    drop(engine.lock().blocked(&write("a")));
    drop(engine.lock().snapshot());
    let holder = engine.hold(&write("b"));
    drop(engine.queue(&write("b")).give_up());
    drop(engine.queue(&write("b")).blocked());
    engine.release(holder);
    engine.settle();
    assert_empty(engine);
}

fn the_engine_checks_its_place<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    drop(engine.hold(&write("a")));
    let findings = engine.answered(engine.lock().check()).expect("an engine that works");
    for finding in findings {
        assert!(finding.severity < Severity::Bad || engine.excuses(&finding), "{finding}");
    }
}

fn a_closed_lock_can_be_used_again<L: Engine, const EXACT: bool>(engine: &Judged<L, EXACT>) {
    drop(engine.hold(&write("a")));
    engine.handles().iter().for_each(|lock| engine.answered(lock.close()));
    assert_empty(engine);
    let guard = engine.hold(&write("a"));
    assert!(guard.is_valid());
    engine.release(guard);
    assert_empty(engine);
}
