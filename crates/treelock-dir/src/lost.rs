//! Learning that the lock was lost: that the table was removed or replaced (C21).

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
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
use treelock::engine::wake_all;

use crate::site::Site;

/// Tells those who hold something in a table that the table is lost.
pub(crate) struct Losses {
    site: Arc<Site>,
    heard: Mutex<Heard>,
    /// The thread that listens, from the first time that somebody asks.
    listener: Mutex<Option<Listener>>,
}

#[derive(Default)]
struct Heard {
    lost: bool,
    last_key: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Heard {
    fn take(&mut self, key: u64) -> Option<Waker> {
        let index = self.wakers.iter().position(|(known, _)| *known == key)?;
        Some(self.wakers.swap_remove(index).1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Losses {
    pub(crate) fn new(site: Arc<Site>) -> Arc<Losses> {
        Arc::new(Losses { site, heard: Mutex::default(), listener: Mutex::default() })
    }

    /// Starts the thread that listens, if none listens yet.
    fn listen(self: &Arc<Losses>) -> io::Result<()> {
        let mut listener = lock(&self.listener);
        if listener.is_none() {
            *listener = Some(Listener::new(self)?);
        }
        Ok(())
    }

    fn ring(&self) {
        let wakers = {
            let mut heard = lock(&self.heard);
            heard.lost = true;
            std::mem::take(&mut heard.wakers)
        };
        wake_all(wakers.into_iter().map(|(_, waker)| waker), || ());
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
struct Listener {
    inotify: Option<Inotify>,
    /// The process that listens. A process that it forked has the same inotify instance.
    process: u32,
}

impl Listener {
    fn new(losses: &Arc<Losses>) -> io::Result<Listener> {
        let inotify = Inotify::new(losses.site.directory()).ok();
        // The thread must not keep the table: it ends with it.
        let (weak, events) = (Arc::downgrade(losses), inotify.clone());
        let thread = thread::Builder::new().name("treelock-lost".into());
        thread.spawn(move || {
            while let Some(losses) = weak.upgrade() {
                if !losses.site.is_in_place() {
                    return losses.ring();
                }
                drop(losses);
                if !events.as_ref().is_some_and(Inotify::wait) {
                    thread::sleep(LOOK_INTERVAL);
                }
            }
        })?;
        Ok(Listener { inotify, process: process::id() })
    }
}

impl Drop for Listener {
    /// Wakes the thread with a last event, so that it finds that the table is gone.
    fn drop(&mut self) {
        if let Some(Inotify { instance, directory }) = &self.inotify
            && self.process == process::id()
        {
            let _ = instance.rm_watch(*directory);
        }
    }
}

/// A future that is ready when a table is lost, while somebody holds something in it.
pub(crate) struct Lost {
    /// Gone with the last who holds or asks, after which nothing can be lost.
    losses: Weak<Losses>,
    /// Whether the guard was dropped, after which it cannot lose anything.
    released: Arc<AtomicBool>,
    key: u64,
}

impl Lost {
    /// Begins to listen. If no thread can be started now, the first poll tries again.
    pub(crate) fn new(losses: &Arc<Losses>, released: Arc<AtomicBool>) -> Lost {
        let _ = losses.listen();
        let key = {
            let mut heard = lock(&losses.heard);
            heard.last_key += 1;
            heard.last_key
        };
        Lost { losses: Arc::downgrade(losses), released, key }
    }
}

impl Future for Lost {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.released.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let Some(losses) = self.losses.upgrade() else { return Poll::Pending };
        // If nobody can listen, a loss would never be heard of. Better too early than never.
        if losses.listen().is_err() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let mut heard = lock(&losses.heard);
        if heard.lost {
            return Poll::Ready(());
        }
        let old = heard.take(self.key);
        heard.wakers.push((self.key, waker));
        drop(heard);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        let Some(losses) = self.losses.upgrade() else { return };
        let own = lock(&losses.heard).take(self.key);
        drop(own);
    }
}
