//! What the types promise to the compiler, and how they print.

use std::{error, fmt, future::Future, panic, time::Duration};

use treelock::{Answer, Wait, engine::Severity};
use treelock_dir::{Acquire, DirLock, Error, Guard};

use crate::scratch::{AcquireWithin, Scratch, write};

const fn is_send<T: Send + 'static>() {}
const fn is_sync<T: Sync>() {}
const fn is_unpin<T: Unpin>() {}
const fn is_clone<T: Clone>() {}
const fn prints<T: fmt::Debug>() {}
const fn unwinds<T: panic::UnwindSafe>() {}

/// Each line fails to compile if a type loses what users rely on.
const _: () = {
    is_send::<(DirLock, Guard, Acquire, Error)>();
    is_sync::<(DirLock, Guard, Acquire, Error)>();
    is_unpin::<(DirLock, Guard, Acquire, Error)>();
    prints::<(DirLock, Guard, Acquire, Error)>();
    is_clone::<DirLock>();
    unwinds::<DirLock>();
};

fn _futures(acquire: Acquire, lost: Answer<()>) {
    fn of<T>(_: impl Future<Output = T>) {}
    of::<Result<Guard, Error>>(acquire);
    of::<()>(lost);
}

#[test]
fn what_is_printed_for_people_who_debug() {
    let scratch = Scratch::new();
    let request = write("a").read("b/c").expect("a valid node").with_label("me");
    let mut acquire = scratch.lock.acquire(&request);
    assert_eq!(format!("{acquire:?}"), r#"Acquire { state: "unasked", .. }"#);
    let guard = scratch.lock.try_acquire(&request).wait().expect("a new lock is free");
    let mut task = treelock_conformance::Polled::new(std::future::poll_fn(move |context| {
        let polled = std::pin::Pin::new(&mut acquire).poll(context).map(drop);
        std::task::Poll::Ready((polled, format!("{acquire:?}")))
    }));
    let (polled, printed) = treelock_conformance::Task::poll(&mut task).expect("ready at once");
    assert!(polled.is_pending());
    assert_eq!(printed, r#"Acquire { state: "queued", .. }"#);
    let ticket = guard.ticket();
    assert_eq!(format!("{guard:?}"), format!("Guard(write /a, read /b/c; ticket {ticket})"));
    let directory = scratch.lock.path();
    assert_eq!(format!("{:?}", scratch.lock), format!("DirLock({directory:?})"));
    assert_eq!(scratch.lock.clone().path(), directory);
}

#[test]
fn what_the_error_of_one_who_is_blocked_says() {
    let Scratch { lock, .. } = &Scratch::new();
    let _guard =
        lock.try_acquire(&write("a/b").with_label("import")).wait().expect("a new lock is free");
    let error = lock.acquire_within(&write("a"), Duration::ZERO).expect_err("it is held");
    let pid = std::process::id();
    let says = format!(
        r#"write /a is blocked by "import" (pid {pid}): write /a/b, held for 0.0s; 1 ahead"#
    );
    // The age depends on the speed of the machine.
    let (before, after) = says.split_once("0.0s").expect("as written above");
    let said = error.to_string();
    assert!(said.starts_with(before) && said.ends_with(after), "{said}");
    assert!(error::Error::source(&error).is_none(), "the message includes it");
}

/// A record is limited in size, far beyond what anyone is likely to request.
#[test]
fn a_request_that_is_too_large_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    let request = write("a").with_label("x".repeat(14_000_000));
    let error = scratch.lock.try_acquire(&request).wait().expect_err("it is too large");
    assert!(matches!(error, Error::TooLarge { bytes: 14_000_000.., .. }), "{error}");
    scratch.assert_at_rest();
    let large = write("a").with_label("x".repeat(1_000_000));
    let guard = scratch.lock.try_acquire(&large).wait().expect("it has room");
    let snapshot = scratch.lock.snapshot().wait().expect("a table");
    assert_eq!(snapshot.entries[0].label.as_ref().map(|label| label.len()), Some(1_000_000));
    drop(guard);
    scratch.assert_at_rest();
}

#[test]
fn findings_print_what_to_do() {
    let scratch = Scratch::new();
    let found = scratch.lock.check().wait().expect("a directory that can be checked");
    for finding in &found {
        let parts = [finding.what.as_str(), finding.advice.as_str()];
        let whole = if parts[1].is_empty() { parts[0].into() } else { parts.join("; ") };
        assert_eq!(finding.to_string(), whole);
        assert_eq!(finding.severity == Severity::Good, finding.advice.is_empty(), "{finding}");
    }
    assert_eq!(format!("{:5}|", Severity::Odd), "odd  |");
    let mut guards = Vec::new();
    scratch.assert_at_rest();
    for says in ["0 requests are live", "1 request is live", "2 requests are live"] {
        let found = scratch.lock.check().wait().expect("a directory that can be checked");
        assert!(found.iter().any(|finding| finding.to_string() == says), "{found:?}");
        let node = guards.len().to_string();
        guards.push(scratch.lock.try_acquire(&write(&node)).wait().expect("nothing is in the way"));
    }
}
