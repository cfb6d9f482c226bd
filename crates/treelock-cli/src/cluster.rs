//! The lock between machines, as this program uses it.

use std::{
    cell::RefCell,
    env,
    ffi::OsStr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use treelock::{Blocked, Request};
use treelock_etcd::{Blocking, EtcdLock, Options, Tls};

use crate::{arguments, engine::Error, error::Failure, events::Events};

/// As the library has it, and `--help` says.
const TTL: Duration = Duration::from_secs(15);
const NAMESPACE: &str = "default";
/// The value of `--etcd` that takes the endpoints from where etcdctl has them.
const FROM_ETCDCTL: &str = "env";
const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";

/// How long one who leaves waits for etcd's word. Short, since it may be Ctrl-C that he leaves by.
const LEAVING: Duration = Duration::from_secs(1);
/// How long one who is done does. Nobody waits for him, and those behind him gain by it.
const RELEASING: Duration = Duration::from_secs(5);
/// How old an answer to who is in the way may be, and so how often it is asked.
const REFRESH: Duration = Duration::from_secs(1);
/// How long such an answer is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// A namespace of a cluster.
pub(crate) struct Cluster {
    lock: EtcdLock,
    ttl: Duration,
    place: String,
}

impl Cluster {
    /// Returns the lock that the arguments mean. Nobody is asked for anything yet.
    pub(crate) fn connect(arguments: &arguments::Cluster) -> Result<Cluster, Failure> {
        let given = text(arguments.etcd.as_deref(), "--etcd or TREELOCK_ETCD")?;
        let from_etcdctl = env::var(ENDPOINTS).ok();
        let endpoints = endpoints(given.unwrap_or_default(), from_etcdctl.as_deref())?;
        let namespace = arguments.namespace.as_deref();
        let namespace = text(namespace, "--namespace or TREELOCK_NAMESPACE")?.unwrap_or(NAMESPACE);
        let ttl = arguments.ttl.unwrap_or(TTL);
        let place = format!("etcd {}, namespace {namespace:?}", endpoints.join(","));
        let mut options = Options::new(endpoints).namespace(namespace).ttl(ttl);
        let name = text(arguments.user.as_deref(), "--user or ETCDCTL_USER")?;
        let password = text(arguments.password.as_deref(), "--password or ETCDCTL_PASSWORD")?;
        if let Some((name, password)) = user(name, password)? {
            options = options.user(name, password);
        }
        if let Some(tls) = tls(arguments)? {
            options = options.tls(tls);
        }
        options.check().map_err(Failure::usage)?;
        Ok(Cluster { lock: EtcdLock::new(&options), ttl, place })
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the verbs that wait for their answer.
    pub(crate) fn lock(&self) -> Blocking<'_> {
        self.lock.blocking()
    }

    pub(crate) fn acquire(&self, request: &Request, is_try: bool) -> Asked {
        let lock = self.lock.clone();
        let work = match is_try {
            false => Work::Acquire(lock.acquire(request)),
            true => {
                let (lock, request) = (lock.clone(), request.clone());
                Work::Try(Box::pin(async move { lock.try_acquire(&request).await }))
            }
        };
        Asked { work, lock, ttl: self.ttl, look: RefCell::default() }
    }

    /// Waits until what was dropped is given back, but not for long; returns whether it is.
    pub(crate) fn settle(&self, events: &Events) -> bool {
        events.within(LEAVING, self.lock.close()).is_some()
    }
}

/// What is given, which may be a secret, as text.
fn text<'a>(given: Option<&'a OsStr>, source: &str) -> Result<Option<&'a str>, Failure> {
    let text = given.map(|given| given.to_str().ok_or(source)).transpose();
    text.map_err(|source| Failure::usage(format_args!("what {source} says is no UTF-8")))
}

/// Whom to trust and who we are; `None` if nothing is said of it.
fn tls(arguments: &arguments::Cluster) -> Result<Option<Tls>, Failure> {
    let given = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
    let (ca, cert, key) = (given(&arguments.cacert), given(&arguments.cert), given(&arguments.key));
    if ca.is_none() && cert.is_none() && key.is_none() {
        return Ok(None);
    }
    let tls = ca.into_iter().fold(Tls::new(), Tls::ca_file);
    match (cert, key) {
        (None, None) => Ok(Some(tls)),
        (Some(cert), Some(key)) => Ok(Some(tls.identity_files(cert, key))),
        _ => Err(Failure::usage(
            "a certificate goes with its key; give both --cert and --key, or neither",
        )),
    }
}

/// The addresses of the members. That they are good is for the library to say.
fn endpoints(given: &str, from_etcdctl: Option<&str>) -> Result<Vec<String>, Failure> {
    let (given, source) = match given {
        FROM_ETCDCTL => (from_etcdctl.unwrap_or_default(), ENDPOINTS),
        given => (given, "--etcd or TREELOCK_ETCD"),
    };
    let each = given.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
    let endpoints: Vec<String> = each.map(str::to_owned).collect();
    match endpoints.is_empty() {
        false => Ok(endpoints),
        true => Err(Failure::usage(format_args!(
            "the cluster has no endpoints: {source} is empty or not set; name its members, as in \
             http://10.0.0.1:2379"
        ))),
    }
}

/// The user and the password, as etcdctl takes them.
fn user<'a>(
    user: Option<&'a str>,
    password: Option<&'a str>,
) -> Result<Option<(&'a str, &'a str)>, Failure> {
    let is_given = |text: &&str| !text.is_empty();
    match (user.filter(is_given), password.filter(is_given)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::usage(
            "there is a password and no user; name the user with --user or ETCDCTL_USER",
        )),
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (Some(user), None) => user.split_once(':').map(Some).ok_or_else(|| {
            Failure::usage(format_args!(
                "user {user:?} has no password; set ETCDCTL_PASSWORD, or ETCDCTL_USER to name:password"
            ))
        }),
    }
}

/// A request that was asked for.
pub(crate) struct Asked {
    work: Work,
    lock: EtcdLock,
    ttl: Duration,
    look: RefCell<Look>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, treelock_etcd::Error>>>>;

enum Work {
    Acquire(treelock_etcd::Acquire),
    Try(Boxed<treelock_etcd::Guard>),
}

/// What is known of who is in the way. Asking takes a way to the cluster and back, so it goes on while others
/// things happen.
#[derive(Default)]
struct Look {
    begun: Option<Instant>,
    pending: Option<Boxed<Option<Blocked>>>,
    seen: Option<Blocked>,
}

impl Asked {
    /// Returns who is in the way, as of a second ago at most; `None` if that is not known yet.
    pub(crate) fn blocked(&self, events: &Events) -> Result<Option<Blocked>, Error> {
        let Work::Acquire(acquire) = &self.work else { return Ok(None) };
        if acquire.ticket().is_none() {
            return Ok(None);
        }
        let look = &mut *self.look.borrow_mut();
        let age = look.begun.map_or(Duration::MAX, |begun| begun.elapsed());
        if look.pending.is_none() && age >= REFRESH {
            look.pending = Some(Box::pin(acquire.blocked()));
            look.begun = Some(Instant::now());
            look.seen = None;
        } else if look.pending.is_some() && age >= ANSWER {
            look.pending = None;
            return Err(Error::Silence);
        }
        if let Some(pending) = &mut look.pending
            && let Poll::Ready(answer) = events.poll(pending.as_mut())
        {
            look.pending = None;
            look.seen = answer?;
        }
        Ok(look.seen.clone())
    }

    /// Fails if the time is over for so long and there is not even a place in the line: nobody answers, and who is
    /// in the way will not be known.
    pub(crate) fn is_late(&self, by: Duration) -> Result<(), Error> {
        match &self.work {
            Work::Acquire(acquire) if acquire.ticket().is_none() && by >= ANSWER => {
                Err(Error::Silence)
            }
            _ => Ok(()),
        }
    }
}

impl Future for Asked {
    type Output = Result<Held, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (lock, ttl) = (self.lock.clone(), self.ttl);
        let done = match &mut self.work {
            Work::Acquire(acquire) => Pin::new(acquire).poll(context),
            Work::Try(attempt) => attempt.as_mut().poll(context),
        };
        done.map(|done| Ok(Held { guard: done?, lock, ttl }))
    }
}

/// A lock that is held.
pub(crate) struct Held {
    guard: treelock_etcd::Guard,
    lock: EtcdLock,
    ttl: Duration,
}

impl Held {
    pub(crate) fn guard(&self) -> &treelock_etcd::Guard {
        &self.guard
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns how long a command may go on when the lock is lost. That is when nine tenths of the lease are
    /// over at the latest; half a second of the rest is for the loss to be seen and the signal to be sent.
    pub(crate) fn grace(&self) -> Duration {
        (self.ttl / 10).saturating_sub(Duration::from_millis(500))
    }

    /// Waits until it is released, but not for ever; returns whether it is.
    pub(crate) fn release(self, events: &Events) -> bool {
        let release = async move {
            self.guard.release().await;
            self.lock.close().await;
        };
        events.within(RELEASING, release).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_options_and_of_etcdctl() {
        let of = |given, etcdctl| endpoints(given, etcdctl).map_err(|failure| failure.message);
        assert_eq!(of("a:1, https://b:2,", None).unwrap(), ["a:1", "https://b:2"]);
        assert_eq!(of("env", Some("c:3")).unwrap(), ["c:3"]);
        for (given, etcdctl, says) in [
            ("", Some("c:3"), "--etcd or TREELOCK_ETCD is empty"),
            (" , ", None, "--etcd or TREELOCK_ETCD is empty"),
            ("env", None, "ETCDCTL_ENDPOINTS is empty or not set"),
        ] {
            let message = of(given, etcdctl).unwrap_err();
            assert!(message.contains(says), "{given}: {message}");
        }
    }

    #[test]
    fn users_as_etcdctl_takes_them() {
        assert_eq!(user(None, None).unwrap(), None);
        assert_eq!(user(Some(""), Some("")).unwrap(), None);
        assert_eq!(user(Some("me:a:b"), None).unwrap(), Some(("me", "a:b")));
        assert_eq!(user(Some("me:x"), Some("secret")).unwrap(), Some(("me:x", "secret")));
        assert!(user(Some("me"), None).unwrap_err().message.contains("\"me\" has no password"));
        let message = user(None, Some("secret")).unwrap_err().message;
        assert!(message.contains("no user") && !message.contains("secret"), "{message}");
    }
}
