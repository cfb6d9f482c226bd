//! What listeners are told: each change exactly once, whoever dies or is slow.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    thread,
    time::Duration,
};

use treelock::{
    State, Wait,
    engine::{Event, Events, What},
};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::{Helper, Part, is_alone, is_possible, say, word},
    raw::number,
    scratch::{LONG, Scratch, eventually, long, write},
};

/// The number of the ring that listeners read, in the header of the table.
const RING_AT: u64 = 448;
/// The next place, in the header of the ring.
const HEAD_AT: u64 = 64;
/// How many places there are. A request takes one when it is made, and one when it leaves.
const PLACES: u64 = 4096;

fn next(events: &mut Events<Error>) -> Event {
    let event = events.next().wait_timeout(LONG).expect("something has happened");
    event.expect("a table that can be listened to")
}

fn text(event: &Event) -> String {
    let ticket = event.request().map_or(0, |request| request.ticket);
    match &event.what {
        What::Live(state, _) => format!("#{ticket} live {state}"),
        What::Asked(_) => format!("#{ticket} asked"),
        What::Granted(_) => format!("#{ticket} granted"),
        What::Left(state, _) => format!("#{ticket} left {state}"),
        What::Missed(count) => format!("missed {count:?}"),
        other => format!("{other:?}"),
    }
}

fn assert_told(events: &mut Events<Error>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(text(&next(events)), *expected);
    }
}

fn listen(lock: &DirLock) -> Events<Error> {
    lock.events().wait().expect("a table that can be listened to")
}

/// Returns the file of the events, opened directly.
fn ring(scratch: &Scratch) -> File {
    let file = File::options().read(true).write(true).open(scratch.lock.path().join("events"));
    file.expect("somebody has listened")
}

fn is_listened_to(scratch: &Scratch) -> bool {
    number(&scratch.raw_table(), RING_AT) != 0
}

/// Plays the part of one who acquires and releases again and again; now and then it gives up.
pub(crate) fn hurry(lock: &DirLock) {
    for round in 0..word().parse::<u64>().expect("a number") {
        let limit = if round % 5 == 0 { Duration::ZERO } else { LONG };
        let mut acquire = lock.acquire(&write("a"));
        let granted = acquire.wait_timeout(limit);
        // Others come across it meanwhile.
        thread::sleep(Duration::from_micros(50));
        drop(granted);
    }
    say("done");
}

/// Plays the part of a listener: prints what it is told.
pub(crate) fn tell(lock: &DirLock) {
    let mut events = listen(lock);
    say("listens");
    loop {
        say(&text(&next(&mut events)));
    }
}

/// What four processes do at once is told exactly once, in order, and to two listeners alike.
#[test]
fn each_change_of_four_processes_is_told_once() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let mut listeners = [listen(&scratch.lock), listen(&DirLock::new(scratch.lock.path()))];
    for _ in 0..3 {
        // No more than the ring has room for, however slow the listener is.
        let each = PLACES / 2 / 4;
        let start = |_| Part::new("hurry", scratch.lock.path(), &each.to_string()).start();
        let helpers: Vec<Helper> = (0..4).map(start).collect();
        let told = listeners.each_mut().map(|events| changes(events, each * 4));
        assert!(told[0] == told[1], "two listeners were told different things");
        let gave_up = told[0].iter().filter(|told| told.ends_with("left waiting")).count();
        println!("{gave_up} gave up");
        helpers.iter().for_each(|helper| helper.expect("done"));
    }
    for events in &mut listeners {
        assert!(events.next().wait_timeout(Duration::from_millis(50)).is_none());
    }
    scratch.assert_at_rest();
}

/// Reads until so many requests have left. Checks that each was told in order, and that no two held
/// the same at once.
fn changes(events: &mut Events<Error>, count: u64) -> Vec<String> {
    let mut live: BTreeMap<u64, State> = BTreeMap::new();
    let (mut told, mut left, mut last) = (Vec::new(), 0, 0);
    while left < count {
        let event = next(events);
        told.push(text(&event));
        match event.what {
            What::Asked(seen) => {
                assert!(seen.ticket > last, "#{} is told behind #{last}", seen.ticket);
                last = seen.ticket;
                live.insert(seen.ticket, State::Waiting);
            }
            What::Granted(seen) => {
                assert!(live.values().all(|state| *state == State::Waiting), "{seen:?}");
                let before = live.insert(seen.ticket, State::Held);
                assert_eq!(before, Some(State::Waiting), "{seen:?}");
            }
            What::Left(state, seen) => {
                assert_eq!(live.remove(&seen.ticket), Some(state), "{seen:?}");
                left += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(live.is_empty(), "{live:?}");
    told
}

/// A listener that is too slow is told how many requests it missed.
#[test]
fn who_is_too_slow_is_told_what_it_missed() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let mut events = listen(&scratch.lock);
    let first = scratch.lock.acquire(&write("b")).wait().expect("a table");
    for _ in 0..3 * PLACES {
        drop(scratch.lock.acquire(&write("a")).wait().expect("a table"));
    }
    let last = scratch.lock.acquire(&write("c")).wait().expect("a table");
    let (mut asked, mut missed) = (0, 0);
    loop {
        match next(&mut events).what {
            What::Asked(_) => asked += 1,
            What::Missed(count) => missed += count.expect("a known number"),
            What::Granted(seen) if seen.ticket == last.ticket() => break,
            _ => {}
        }
    }
    assert!(missed > 0 && asked < 3 * PLACES);
    assert_eq!(asked + missed, 3 * PLACES + 2);
    let (first_ticket, last_ticket) = (first.ticket(), last.ticket());
    drop(first);
    assert_told(&mut events, &[&format!("#{first_ticket} left held")]);
    drop(last);
    assert_told(&mut events, &[&format!("#{last_ticket} left held")]);
}

/// Whoever dies with a lock, or with a place in the ring where it has not written, stops no
/// listener.
#[test]
fn the_dead_stop_no_listener() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let mut events = listen(&scratch.lock);
    let mut holder = Helper::holding(&scratch.lock, "a");
    assert_told(&mut events, &["#2 asked", "#2 granted"]);
    holder.kill();
    assert_told(&mut events, &["#2 left held"]);
    let ring = ring(&scratch);
    for ticket in 3..6 {
        let head = number(&ring, HEAD_AT);
        ring.write_all_at(&(head + 1).to_ne_bytes(), HEAD_AT).expect("our own file");
        let guard = scratch.lock.acquire(&write("b")).wait().expect("a table");
        assert_told(&mut events, &[&format!("#{ticket} asked"), &format!("#{ticket} granted")]);
        drop(guard);
        assert_told(&mut events, &[&format!("#{ticket} left held")]);
    }
}

/// Nothing is told for a listener that was killed, after the next listener, or after a round of the
/// ring.
#[test]
fn a_listener_that_died_is_forgotten() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let killed = || {
        let mut listener = Part::new("listen", scratch.lock.path(), "").start();
        listener.expect("listens");
        listener.kill();
        assert!(is_listened_to(&scratch));
    };
    killed();
    drop(listen(&scratch.lock));
    eventually("nobody listens", || !is_listened_to(&scratch));
    killed();
    for _ in 0..PLACES {
        drop(scratch.lock.acquire(&write("a")).wait().expect("a table"));
    }
    assert!(!is_listened_to(&scratch));
    let mut events = listen(&scratch.lock);
    let guard = scratch.lock.acquire(&write("a")).wait().expect("a table");
    assert_eq!(next(&mut events).request().map(|seen| seen.ticket), Some(guard.ticket()));
}

#[test]
fn long_requests_are_told() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let mut events = listen(&scratch.lock);
    // What takes several places, and what takes more than a message may.
    for request in [long("a"), write("b").with_label("x".repeat(100_000))] {
        let guard = scratch.lock.acquire(&request).wait().expect("a table");
        let seen = next(&mut events);
        assert_eq!(seen.request().and_then(|seen| seen.request.label()), request.label());
        assert!(text(&seen).ends_with("asked") && text(&next(&mut events)).ends_with("granted"));
        drop(guard);
        assert!(text(&next(&mut events)).ends_with("left held"));
    }
}

/// Who may only read the table is told what it sees.
#[test]
fn who_may_only_read_listens_too() {
    let user = ["setpriv", "--reuid", "54301", "--regid", "54301", "--clear-groups"];
    if !is_possible(&user) {
        return;
    }
    let scratch = Scratch::new();
    let guard = scratch.lock.acquire(&write("a")).wait().expect("a table");
    let open = |path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    open(scratch.path().to_path_buf(), 0o755).expect("our own directory");
    open(scratch.lock.path().to_path_buf(), 0o755).expect("our own directory");
    open(scratch.table(), 0o644).expect("our own file");
    let listener = Part::wrapped(&user, "listen", scratch.lock.path(), "").start();
    listener.expect("#1 live held");
    assert!(!is_listened_to(&scratch));
    drop(guard);
    listener.expect("#1 left held");
}

/// What is wrong with the ring, or that there is no table, disturbs no one who locks.
#[test]
fn without_a_ring_there_are_locks_and_without_a_table_listeners() {
    let scratch = Scratch::new();
    let mut events = listen(&scratch.lock);
    assert!(!scratch.lock.path().exists(), "a listener has created something");
    let guard = scratch.lock.acquire(&write("a")).wait().expect("a table");
    assert_told(&mut events, &["#1 asked", "#1 granted"]);
    // One that is cut is begun anew.
    ring(&scratch).set_len(100).expect("our own file");
    let second = scratch.lock.acquire(&write("b")).wait().expect("a table");
    assert_told(&mut events, &["#2 asked", "#2 granted"]);
    drop(second);
    assert_told(&mut events, &["#2 left held"]);
    // A new table has other requests.
    fs::remove_file(scratch.table()).expect("our own file");
    assert_told(&mut events, &["#1 left held"]);
    let other = DirLock::new(scratch.lock.path());
    let third = other.acquire(&write("a")).wait().expect("a new table");
    assert_told(&mut events, &["#1 asked", "#1 granted"]);
    drop((guard, third, events));
    eventually("nobody listens", || !is_listened_to(&scratch));
    let path = scratch.lock.path().join("events");
    fs::write(&path, "notes").expect("our own file");
    assert!(matches!(other.events().wait(), Err(Error::Foreign { .. })));
    drop(other.acquire(&write("a")).wait().expect("a table"));
    assert_eq!(fs::read(&path).expect("our own file"), b"notes");
}

/// How often the threads that read events have gone to sleep.
fn sleeps() -> u64 {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok) {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        if value("Name:").is_some_and(|name| name.trim() == "treelock-events") {
            let count = value("voluntary_ctxt_switches:").expect("in each status");
            sum += count.trim().parse::<u64>().expect("a number");
        }
    }
    sum
}

/// While nothing happens, a listener sleeps.
#[test]
fn a_listener_does_not_poll() {
    if !is_alone("events::a_listener_does_not_poll", &[&[]]) {
        return;
    }
    let scratch = Scratch::new();
    let _guard = scratch.lock.acquire(&write("a")).wait().expect("a table");
    let mut events = listen(&scratch.lock);
    assert_told(&mut events, &["#1 live held"]);
    eventually("it sleeps", || sleeps() > 0);
    let before = sleeps();
    // To compare snapshots would take a hundred sleeps.
    thread::sleep(Duration::from_secs(2));
    let count = sleeps() - before;
    assert!(count < 20, "it has slept {count} times");
}
