//! What the examples share: which etcd they use, and a process that holds a lock until it is
//! paused.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use treelock::{FencingToken, Request};
use treelock_etcd::{EtcdLock, Options};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Which etcd is used.
#[derive(clap::Args, Debug)]
pub(crate) struct Cluster {
    /// The members of the etcd to use
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379"
    )]
    endpoints: Vec<String>,

    /// Start an etcd for this example alone, from the PATH, and end it afterwards
    #[arg(long, conflicts_with = "endpoints")]
    start_etcd: bool,

    /// The locks' namespace, so that they have nothing to do with others in the same etcd
    #[arg(long, default_value_t = format!("example-{}", std::process::id()))]
    namespace: String,
}

impl Cluster {
    /// Starts an etcd, if asked to. It ends with the value that is returned.
    pub(crate) fn start(&mut self) -> Result<Option<Etcd>> {
        if !self.start_etcd {
            return Ok(None);
        }
        let etcd = Etcd::start()?;
        self.endpoints = vec![etcd.endpoint.clone()];
        Ok(Some(etcd))
    }

    /// A lock whose leases last so long, when an etcd has answered.
    pub(crate) async fn lock(&self, ttl: Duration) -> Result<EtcdLock> {
        let options = Options::new(&self.endpoints).namespace(&self.namespace).ttl(ttl);
        let lock = EtcdLock::new(&options);
        match lock.snapshot().await {
            Ok(_) => Ok(lock),
            Err(error) if error.is_unavailable() => Err(format!(
                "{error}\n\nStart one with `etcd` (on Debian: apt-get install etcd-server), name \
                 yours with --endpoints, or let the example start its own with --start-etcd"
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// This example, to be started again, with the same lock.
    pub(crate) fn again(&self) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--endpoints", &self.endpoints.join(",")]);
        command.args(["--namespace", &self.namespace]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command)
    }
}

/// An etcd of the example's own, killed with the value.
pub(crate) struct Etcd {
    child: Child,
    endpoint: String,
    _data: TempDir,
}

impl Etcd {
    fn start() -> Result<Etcd> {
        let data = tempfile::tempdir()?;
        let [client, peer] = [free_url()?, free_url()?];
        let arguments = [
            ("name", "example".to_string()),
            ("data-dir", data.path().display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client.clone()),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("example={peer}")),
            ("log-level", "error".into()),
        ];
        let mut command = Command::new("etcd");
        command.args(arguments.map(|(name, value)| format!("--{name}={value}")));
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = started.map_err(|error| {
            format!("cannot start `etcd` ({error}); on Debian: apt-get install etcd-server")
        })?;
        Ok(Etcd { child, endpoint: client, _data: data })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_url() -> Result<String> {
    Ok(format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

/// Another process that holds a lock and is then paused for longer than its lease lasts.
#[allow(dead_code, reason = "not every example has one")]
pub(crate) struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The token of its grant.
    pub(crate) token: FencingToken,
}

#[allow(dead_code, reason = "not every example has one")]
impl Holder {
    /// Starts it; returns when it holds.
    pub(crate) fn start(cluster: &Cluster) -> Result<Holder> {
        let mut child = cluster.again()?.arg("--hold").spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("its output is piped")?);
        let token = line(&mut output)?.parse()?;
        Ok(Holder { child, output, token })
    }

    /// Pauses it, as a full memory, a moved virtual machine, or a closed laptop does.
    pub(crate) fn pause(&self) -> Result<()> {
        Ok(kill(self.pid(), Signal::SIGSTOP)?)
    }

    /// Lets it go on; returns whether its lock is valid, by its own word.
    pub(crate) fn wake(&mut self) -> Result<bool> {
        kill(self.pid(), Signal::SIGCONT)?;
        drop(self.child.stdin.take());
        let is_valid = line(&mut self.output)?.parse()?;
        self.child.wait()?;
        Ok(is_valid)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim().to_string())
}

/// What that process does.
#[allow(dead_code, reason = "not every example has one")]
pub(crate) async fn hold(lock: &EtcdLock, request: &Request) -> Result<()> {
    let guard = lock.acquire(request).await?;
    println!("{}", guard.token());
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new())?;
    println!("{}", guard.is_valid());
    Ok(())
}
