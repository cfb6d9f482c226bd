//! What the types promise to the compiler, and how they print.

use std::{error, fmt, future::Future, io, panic, time::Duration};

use nix::libc;
use treelock_dir::{Acquire, DirLock, Error, Finding, Guard, Lost, Severity};

use crate::scratch::{Scratch, write};

const fn is_send<T: Send + 'static>() {}
const fn is_sync<T: Sync>() {}
const fn is_unpin<T: Unpin>() {}
const fn is_clone<T: Clone>() {}
const fn prints<T: fmt::Debug>() {}
const fn unwinds<T: panic::UnwindSafe>() {}

/// Each line fails to compile if a type loses what users rely on.
const _: () = {
    is_send::<(DirLock, Guard, Acquire, Lost, Error, Finding, Severity)>();
    is_sync::<(DirLock, Guard, Acquire, Lost, Error, Finding, Severity)>();
    is_unpin::<(DirLock, Guard, Acquire, Lost, Error, Finding, Severity)>();
    prints::<(DirLock, Guard, Acquire, Lost, Error, Finding, Severity)>();
    is_clone::<(DirLock, Finding, Severity)>();
    unwinds::<(DirLock, Finding, Severity)>();
};

fn _futures(acquire: Acquire, lost: Lost) {
    fn of<T>(_: impl Future<Output = T>) {}
    of::<Result<Guard, Error>>(acquire);
    of::<()>(lost);
}

#[test]
fn what_is_printed_for_people_who_debug() {
    let scratch = Scratch::new();
    let request = write("a").read("b/c").expect("a good node").label("me");
    let mut acquire = scratch.lock.acquire(&request);
    assert_eq!(format!("{acquire:?}"), r#"Acquire { state: "unasked", .. }"#);
    let guard = scratch.lock.try_acquire(&request).expect("a new lock is free");
    let mut task = treelock_conformance::Polled::new(std::future::poll_fn(move |context| {
        let polled = std::pin::Pin::new(&mut acquire).poll(context).map(drop);
        std::task::Poll::Ready((polled, format!("{acquire:?}")))
    }));
    let (polled, printed) = treelock_conformance::Task::poll(&mut task).expect("ready at once");
    assert!(polled.is_pending());
    assert_eq!(printed, r#"Acquire { state: "queued", .. }"#);
    assert_eq!(format!("{guard:?}"), "Guard(write /a, read /b/c)");
    let lost = guard.lost().expect("the kernel allows a listener");
    assert_eq!(format!("{lost:?}"), "Lost { lost: false, .. }");
    let directory = scratch.lock.path();
    assert_eq!(format!("{:?}", scratch.lock), format!("DirLock({directory:?})"));
    assert_eq!(scratch.lock.clone().path(), directory);
}

/// Errors say what happened, to what, and what to do.
#[test]
fn what_errors_say() {
    let io = |kind: io::ErrorKind| Error::Io {
        doing: "write the lock table",
        path: "/locks/table".into(),
        source: io::Error::new(kind, "as the system says"),
    };
    let begins = r#"cannot write the lock table "/locks/table": as the system says"#;
    for (kind, advice) in [
        (
            io::ErrorKind::PermissionDenied,
            "; use a directory that you may write, or ask its owner to let you",
        ),
        (io::ErrorKind::ReadOnlyFilesystem, "; use a directory that can be written"),
        (io::ErrorKind::StorageFull, "; make room, or use a directory on another disk"),
        (io::ErrorKind::QuotaExceeded, "; make room, or use a directory on another disk"),
        (
            io::ErrorKind::NotADirectory,
            "; a part of the path is a file, where a directory should be",
        ),
        (
            io::ErrorKind::AlreadyExists,
            "; a part of the path is a file, where a directory should be",
        ),
        (io::ErrorKind::Other, ""),
    ] {
        assert_eq!(io(kind).to_string(), format!("{begins}{advice}"));
        assert!(error::Error::source(&io(kind)).is_some());
        assert!(!io(kind).is_lost() && io(kind).blocked().is_none());
    }
    for (errno, advice) in [
        (libc::EMFILE, "; close some, or raise the limit"),
        (libc::ENFILE, "; close some, or raise the limit"),
        (libc::EAGAIN, "; end some threads, or raise the limit"),
        (libc::ELOOP, "; a symbolic link in its place is not followed"),
    ] {
        let source = io::Error::from_raw_os_error(errno);
        let error = Error::Io { doing: "open the lock table", path: "/locks".into(), source };
        assert!(error.to_string().ends_with(advice), "{error}");
    }
    for (error, says) in [
        (
            Error::Shared { path: "/net/locks".into(), kind: "NFS" },
            "\"/net/locks\" lies on NFS, which several hosts may share; use a directory on a local \
             disk or in memory",
        ),
        (
            Error::Foreign { path: "/locks/table".into(), what: "version 7 instead of 1".into() },
            "\"/locks/table\" is not a lock table of this version (version 7 instead of 1); use \
             another directory",
        ),
        (
            Error::Damaged { path: "/locks/table".into() },
            "the lock table \"/locks/table\" was emptied or cut short while in use, so who holds \
             what is unknown; wait until those who use it end, or end them",
        ),
        (
            Error::Lost { path: "/locks/table".into() },
            "the lock table \"/locks/table\" was removed or replaced while the request waited; ask \
             again",
        ),
        (
            Error::TooLarge { bytes: 100, most: 90 },
            "the request takes 100 bytes, and a lock table gives it 90; ask for fewer or wider \
             roots",
        ),
    ] {
        assert_eq!(error.to_string(), says);
        assert!(error::Error::source(&error).is_none() && error.blocked().is_none());
        assert_eq!(error.is_lost(), matches!(error, Error::Lost { .. }));
    }
}

#[test]
fn what_the_error_of_one_who_is_blocked_says() {
    let Scratch { lock, .. } = &Scratch::new();
    let _guard = lock.try_acquire(&write("a/b").label("import")).expect("a new lock is free");
    let error = lock.acquire_timeout(&write("a"), Duration::ZERO).expect_err("it is held");
    let pid = std::process::id();
    let says = format!(
        r#"write /a is blocked by "import" (pid {pid}): write /a/b, held for 0.0s; 1 ahead"#
    );
    // The age is whatever it is on a slow machine.
    let (before, after) = says.split_once("0.0s").expect("as written above");
    let said = error.to_string();
    assert!(said.starts_with(before) && said.ends_with(after), "{said}");
    assert!(error::Error::source(&error).is_some_and(|source| source.to_string() == said));
}

/// A record has a limit, far beyond what anybody means to ask for.
#[test]
fn a_request_that_is_too_large_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    let request = write("a").label("x".repeat(14_000_000));
    let error = scratch.lock.try_acquire(&request).expect_err("it is too large");
    assert!(matches!(error, Error::TooLarge { bytes: 14_000_000.., .. }), "{error}");
    scratch.assert_at_rest();
    let large = write("a").label("x".repeat(1_000_000));
    let guard = scratch.lock.try_acquire(&large).expect("it has room");
    let snapshot = scratch.lock.snapshot().expect("a table");
    assert_eq!(snapshot.entries[0].label.as_ref().map(|label| label.len()), Some(1_000_000));
    drop(guard);
    scratch.assert_at_rest();
}

#[test]
fn findings_print_what_to_do() {
    let scratch = Scratch::new();
    let found = scratch.lock.check().expect("a place that can be looked at");
    for finding in &found {
        let parts = [finding.what.as_str(), finding.advice.as_str()];
        let whole = if parts[1].is_empty() { parts[0].into() } else { parts.join("; ") };
        assert_eq!(finding.to_string(), whole);
        assert_eq!(finding.severity == Severity::Good, finding.advice.is_empty(), "{finding}");
    }
    assert_eq!(format!("{:5}|", Severity::Odd), "odd  |");
    let mut guards = Vec::new();
    for says in ["0 requests are live", "1 request is live", "2 requests are live"] {
        let found = scratch.lock.check().expect("a place that can be looked at");
        assert!(found.iter().any(|finding| finding.to_string() == says), "{found:?}");
        let node = guards.len().to_string();
        guards.push(scratch.lock.try_acquire(&write(&node)).expect("nobody is in the way"));
    }
}
