//! Learning that the lock was lost: that the table was removed or replaced (C21).

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    pin::Pin,
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
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};

use crate::{
    error::{Doing, Error},
    table::Table,
    watch::wake_all,
};

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
    /// Whether the guard was dropped, after which there is nothing to be lost.
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

/// A thread that listens for a table. Ends when this is dropped.
pub(crate) struct Listener {
    alarm: Arc<Alarm>,
    ear: Option<Ear>,
    /// The process that listens. One that it forked has the same ear.
    process: u32,
}

/// How often the thread looks where the kernel has no listener left for it: there are few for each user
/// (`fs.inotify.max_user_instances`), and locks must not depend on them.
const LOOK: Duration = Duration::from_secs(1);

/// What the kernel tells of the table's directory.
#[derive(Clone)]
struct Ear {
    inotify: Arc<Inotify>,
    directory: WatchDescriptor,
}

impl Ear {
    fn new(directory: &Path) -> nix::Result<Ear> {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?);
        let inside = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        let watch = inotify.add_watch(directory, inside | itself)?;
        for above in directory.ancestors().skip(1) {
            // One that may not be watched is another's to move.
            let _ = inotify.add_watch(above, AddWatchFlags::IN_MOVE_SELF);
        }
        Ok(Ear { inotify, directory: watch })
    }

    /// Waits until something happened; returns at once, and false, if it hears nothing any more.
    fn listen(&self) -> bool {
        matches!(self.inotify.read_events(), Ok(_) | Err(Errno::EINTR))
    }
}

impl Listener {
    fn new(table: &Arc<Table>) -> io::Result<Listener> {
        let ear = Ear::new(table.directory()).ok();
        let alarm = Arc::new(Alarm::default());
        // The thread must not keep the table: it ends with it.
        let (weak, own, bell) = (Arc::downgrade(table), ear.clone(), alarm.clone());
        let thread = thread::Builder::new().name("treelock-lost".into());
        thread.spawn(move || {
            while let Some(table) = weak.upgrade() {
                if !table.is_in_place() {
                    return bell.ring();
                }
                drop(table);
                if !own.as_ref().is_some_and(Ear::listen) {
                    thread::sleep(LOOK);
                }
            }
        })?;
        Ok(Listener { alarm, ear, process: std::process::id() })
    }
}

impl Drop for Listener {
    /// Wakes the thread with a last event, so that it sees that the table is gone.
    fn drop(&mut self) {
        if let Some(Ear { inotify, directory }) = &self.ear
            && self.process == std::process::id()
        {
            let _ = inotify.rm_watch(*directory);
        }
    }
}

impl Lost {
    pub(crate) fn new(table: &Arc<Table>, released: Arc<AtomicBool>) -> Result<Lost, Error> {
        let mut listener = table.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_none() {
            *listener = Some(Listener::new(table).doing("watch", table.path())?);
        }
        let alarm = listener.as_ref().expect("there by now").alarm.clone();
        let key = {
            let mut heard = alarm.lock();
            heard.last_key += 1;
            heard.last_key
        };
        Ok(Lost { alarm, released, key })
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
