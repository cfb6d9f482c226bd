//! Learning that the lock was lost: that the table was removed or replaced (C21).

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{self, AddWatchFlags, InitFlags, WatchDescriptor},
};

use crate::{site::Site, watch::wake_all};

/// The future of [`Guard::lost`](crate::Guard::lost).
///
/// # Cancel safety
///
/// It may be dropped at any time.
///
/// # Examples
///
/// See [`Guard::lost`](crate::Guard::lost).
#[must_use = "a future does nothing until it is awaited"]
pub struct Lost {
    alarm: Arc<Alarm>,
    /// Whether the guard was dropped, after which nothing can be lost.
    released: Arc<AtomicBool>,
    key: u64,
}

/// What the thread that listens shares with the futures.
#[derive(Default)]
pub(crate) struct Alarm(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    lost: bool,
    last_key: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let wakers = {
            let mut heard = self.lock();
            heard.lost = true;
            std::mem::take(&mut heard.wakers)
        };
        wake_all(wakers.into_iter().map(|(_, waker)| waker));
    }
}

/// How often the thread looks if the kernel has no inotify instance left: each user has few
/// (`fs.inotify.max_user_instances`), and locks must not depend on them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the kernel tells of the table's directory.
#[derive(Clone)]
struct Inotify {
    instance: Arc<inotify::Inotify>,
    directory: WatchDescriptor,
}

impl Inotify {
    fn new(directory: &Path) -> nix::Result<Inotify> {
        let instance = Arc::new(inotify::Inotify::init(InitFlags::IN_CLOEXEC)?);
        let inside = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        let watch = instance.add_watch(directory, inside | itself)?;
        for above in directory.ancestors().skip(1) {
            // If we may not watch it, it belongs to somebody else, who may move it.
            let _ = instance.add_watch(above, AddWatchFlags::IN_MOVE_SELF);
        }
        Ok(Inotify { instance, directory: watch })
    }

    /// Waits until something has happened. Returns false, at once, if no more events will come.
    fn wait(&self) -> bool {
        matches!(self.instance.read_events(), Ok(_) | Err(Errno::EINTR))
    }
}

/// A thread that listens for the loss of a table. It ends when this is dropped.
pub(crate) struct Listener {
    alarm: Arc<Alarm>,
    inotify: Option<Inotify>,
    /// The process that listens. A process that it forked has the same inotify instance.
    process: u32,
}

impl Listener {
    /// Starts the thread. Drop the site before this: the thread ends when it finds no site.
    pub(crate) fn new(site: &Arc<Site>) -> io::Result<Listener> {
        let inotify = Inotify::new(site.directory()).ok();
        let alarm = Arc::new(Alarm::default());
        let (weak, events, bell) = (Arc::downgrade(site), inotify.clone(), alarm.clone());
        let thread = thread::Builder::new().name("treelock-lost".into());
        thread.spawn(move || {
            while let Some(site) = weak.upgrade() {
                if !site.is_in_place() {
                    return bell.ring();
                }
                drop(site);
                if !events.as_ref().is_some_and(Inotify::wait) {
                    thread::sleep(LOOK_INTERVAL);
                }
            }
        })?;
        Ok(Listener { alarm, inotify, process: process::id() })
    }

    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        self.alarm.clone()
    }
}

impl Drop for Listener {
    /// Wakes the thread with a last event, so that it finds that the site is gone.
    fn drop(&mut self) {
        if let Some(Inotify { instance, directory }) = &self.inotify
            && self.process == process::id()
        {
            let _ = instance.rm_watch(*directory);
        }
    }
}

impl Lost {
    pub(crate) fn new(alarm: Arc<Alarm>, released: Arc<AtomicBool>) -> Lost {
        let key = {
            let mut heard = alarm.lock();
            heard.last_key += 1;
            heard.last_key
        };
        Lost { alarm, released, key }
    }
}

impl Future for Lost {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.released.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let waker = context.waker().clone();
        let mut heard = self.alarm.lock();
        if heard.lost {
            return Poll::Ready(());
        }
        let old = heard.wakers.iter().position(|(key, _)| *key == self.key);
        let old = old.map(|index| heard.wakers.swap_remove(index));
        heard.wakers.push((self.key, waker));
        drop(heard);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        let mut heard = self.alarm.lock();
        let own = heard.wakers.iter().position(|(key, _)| *key == self.key);
        let own = own.map(|index| heard.wakers.swap_remove(index));
        drop(heard);
        drop(own);
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").field("lost", &self.alarm.lock().lost).finish_non_exhaustive()
    }
}
