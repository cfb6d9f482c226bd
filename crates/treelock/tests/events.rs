//! Events at wait, grant and release only, and none under the mutex: the subscriber uses the lock.
//!
//! A binary of its own, with one test: `tracing` decides for all threads of a process at once who
//! listens to an event, so tests beside this one would silence it now and then.
#![cfg(feature = "tracing")]

use std::{
    fmt::Debug,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use treelock::{Request, TreeLock, Wait};

struct Recorder {
    lock: TreeLock,
    events: Arc<Mutex<Vec<String>>>,
    wakes: Arc<Wakes>,
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "treelock"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        unreachable!("events, never spans")
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        // Whoever was granted by a release is woken before anybody hears of it.
        let snapshot = self.lock.snapshot().wait();
        let woken = usize::from(snapshot.held().any(|entry| entry.ticket == 2));
        assert!(self.wakes.0.load(Ordering::SeqCst) >= woken, "granted and not woken\n{snapshot}");
        let mut line = Line(String::new());
        event.record(&mut line);
        self.events.lock().unwrap().push(line.0.trim_end().into());
    }
}

#[test]
fn wait_grant_and_release() {
    let lock = TreeLock::new();
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let wakes: Arc<Wakes> = Arc::default();
    let recorder = Recorder { lock: lock.clone(), events: events.clone(), wakes: wakes.clone() };
    tracing::subscriber::set_global_default(recorder).expect("nobody else is in this process");

    let guard =
        lock.try_acquire(&Request::new().write("a").unwrap().with_label("x")).wait().unwrap();
    let mut waiting = pin!(lock.acquire(&Request::new().read("a/b").unwrap()));
    let waker = Waker::from(wakes);
    let mut context = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(guard);
    match waiting.as_mut().poll(&mut context) {
        Poll::Ready(guard) => drop(guard),
        Poll::Pending => panic!("nothing is in the way"),
    }

    let expected = [
        r#"message=granted label="x" roots=write /a"#,
        "message=waiting roots=read /a/b",
        r#"message=released label="x" roots=write /a"#,
        "message=granted roots=read /a/b",
        "message=released roots=read /a/b",
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}
