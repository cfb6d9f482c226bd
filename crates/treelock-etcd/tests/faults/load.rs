//! A cluster in use: clients that contend while something is done to them or to the cluster, and
//! what must hold of all of it in the end.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{net::TcpListener, time::sleep};

use crate::{
    cluster::{Cluster, NEVER, Outcome},
    history::{self, Death, Findings},
    ledger::{Ledger, Stage, listen},
    report::Line,
    wire::{Order, now},
};

/// What has to hold at the end of a run. What no run may show is not here: stale accesses that are
/// accepted, orphans, requests that never end, overtaking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Must {
    /// Whether two live holders may meet, who then are kept apart by their tokens alone.
    pub(crate) may_overlap: bool,
    pub(crate) may_lose: bool,
    pub(crate) may_be_rescued: bool,
    /// The longest time with nobody in the way.
    pub(crate) gap: Duration,
    /// The longest time behind one that died.
    pub(crate) behind_the_dead: Duration,
}

pub(crate) struct Setup {
    pub(crate) members: usize,
    pub(crate) clients: u32,
    /// Seconds.
    pub(crate) ttl: u64,
    pub(crate) seed: u64,
}

struct Client {
    number: u32,
    process: Child,
}

impl Client {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("our child");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Load {
    pub(crate) cluster: Cluster,
    pub(crate) random: fastrand::Rng,
    pub(crate) ttl: Duration,
    clients: Vec<Client>,
    next: u32,
    ledger: Arc<Mutex<Ledger>>,
    harness: String,
    deaths: Vec<Death>,
    /// How many members had to be restarted, since they did not come back by themselves.
    pub(crate) restarted: u64,
    started: Instant,
}

impl Load {
    /// A cluster, and clients that use it.
    pub(crate) async fn start(setup: &Setup) -> Outcome<Load> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let harness = listener.local_addr().map_err(|error| error.to_string())?.to_string();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        tokio::spawn(listen(listener, ledger.clone()));
        let mut load = Load {
            cluster: Cluster::start(setup.members, &[]).await?,
            random: fastrand::Rng::with_seed(setup.seed),
            ttl: Duration::from_secs(setup.ttl),
            clients: Vec::new(),
            next: 0,
            ledger,
            harness,
            deaths: Vec::new(),
            restarted: 0,
            started: Instant::now(),
        };
        for _ in 0..setup.clients {
            load.add_client().await?;
        }
        load.go_on(20).await?;
        Ok(load)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics")
    }

    /// Start one more client.
    pub(crate) async fn add_client(&mut self) -> Outcome<()> {
        let number = self.next;
        self.next += 1;
        let mut endpoints = Vec::new();
        for (member, at) in self.cluster.members.iter().enumerate() {
            let (name, member) = (format!("c{number}"), format!("n{member}"));
            let door = self.cluster.net.client_door(name, member, at.address).await;
            endpoints.push(format!("http://{door}"));
        }
        // Not all at the same member.
        let first = number as usize % endpoints.len();
        endpoints.rotate_left(first);
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let process = Command::new(this)
            .args(["client", "--harness", &self.harness])
            .args(["--client", &number.to_string(), "--endpoints", &endpoints.join(",")])
            .args(["--ttl", &self.ttl.as_secs().to_string()])
            .args(["--seed", &self.random.u64(..).to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("a client: {error}"))?;
        self.clients.push(Client { number, process });
        Ok(())
    }

    /// Waits until so many more sections were done.
    pub(crate) async fn go_on(&self, sections: u64) -> Outcome<()> {
        let wanted = self.ledger().sections + sections;
        let start = Instant::now();
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let done = self.ledger().sections;
            if done >= wanted {
                return Ok(());
            }
            if done != last {
                (last, since) = (done, Instant::now());
            }
            if since.elapsed() >= NEVER {
                let waited = start.elapsed().as_secs();
                return Err(format!("stuck: nobody was granted anything more, after {waited} s"));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn client(&self, number: u32) -> &Client {
        self.clients.iter().find(|client| client.number == number).expect("one of ours")
    }

    /// One of the clients, by chance.
    pub(crate) fn any_client(&mut self) -> u32 {
        let place = self.random.usize(0..self.clients.len());
        self.clients[place].number
    }

    /// Waits until a client is so far with a request that it has begun from now on.
    pub(crate) async fn reaches(&self, client: u32, stage: Stage) -> Outcome<()> {
        let (since, start) = (now(), Instant::now());
        while !self.ledger().is_at(client, stage, since) {
            if start.elapsed() >= NEVER {
                return Err(format!("never: client {client} is {stage:?}"));
            }
            sleep(Duration::from_micros(200)).await;
        }
        Ok(())
    }

    pub(crate) fn order(&self, client: u32, order: Order) {
        self.ledger().order(client, order);
    }

    /// Kill a client; another takes its place.
    pub(crate) async fn kill_client(&mut self, number: u32) -> Outcome<()> {
        self.client(number).signal(Signal::SIGKILL);
        self.deaths.push(Death { client: number, at: now(), until: None });
        self.clients.retain(|client| client.number != number);
        self.add_client().await
    }

    /// Stop a client for so long.
    pub(crate) async fn pause_client(&mut self, number: u32, time: Duration) {
        self.client(number).signal(Signal::SIGSTOP);
        let at = now();
        sleep(time).await;
        self.client(number).signal(Signal::SIGCONT);
        self.deaths.push(Death { client: number, at, until: Some(now()) });
    }

    /// A client is cut off: for all others it is as if it had died.
    pub(crate) fn is_cut_off(&mut self, number: u32) -> usize {
        self.deaths.push(Death { client: number, at: now(), until: None });
        self.deaths.len() - 1
    }

    pub(crate) fn is_back(&mut self, death: usize) {
        self.deaths[death].until = Some(now());
    }

    /// Reset every connection of every client.
    pub(crate) fn cut_streams(&self) {
        for client in &self.clients {
            for member in 0..self.cluster.members.len() {
                self.cluster.net.reset(&format!("c{}", client.number), &format!("n{member}"));
            }
        }
    }

    pub(crate) fn clients(&self) -> Vec<u32> {
        self.clients.iter().map(|client| client.number).collect()
    }

    /// Ends the load; returns what was seen, and whether all that must hold does.
    pub(crate) async fn finish(self, name: &str, faults: u64, must: Must) -> Line {
        let mut wrong = Vec::new();
        if let Err(error) = self.settle().await {
            wrong.push(error);
        }
        let orphans = match self.orphans().await {
            Ok(orphans) => orphans,
            Err(error) => {
                wrong.push(error);
                0
            }
        };
        let mut ledger = self.ledger();
        wrong.append(&mut ledger.wrong);
        let ttl = self.ttl.as_nanos() as u64;
        let found = history::check(&mut ledger.records, &self.deaths, ttl);
        judge(&found, must, ledger.rescued, orphans, &mut wrong);
        if !wrong.is_empty() {
            let file = format!("{}-{}", name.replace(' ', "-"), now());
            wrong.push(format!("all records: {}", ledger.keep(&file)));
            wrong.push(format!("deaths: {:?}", self.deaths));
        }
        Line {
            name: name.into(),
            faults,
            sections: found.sections,
            overlaps: found.overlaps.len() as u64,
            rescued: ledger.rescued,
            orphans,
            refused: ledger.refused,
            restarted: self.restarted,
            lost: found.lost,
            gap: Duration::from_nanos(found.gap),
            behind_the_dead: Duration::from_nanos(found.behind_the_dead),
            took: self.started.elapsed(),
            wrong,
            left_out: None,
        }
    }

    /// Waits until all clients have ended what they do.
    async fn settle(&self) -> Outcome<()> {
        for client in self.clients() {
            self.order(client, Order::Stop);
        }
        let start = Instant::now();
        loop {
            let waited: Vec<u32> = {
                let ledger = self.ledger();
                self.clients()
                    .into_iter()
                    .filter(|number| !ledger.settled.contains(number))
                    .collect()
            };
            if waited.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= NEVER {
                let open = self.ledger().unfinished(&waited);
                return Err(format!("stuck: clients {waited:?} never ended; open:\n{open}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many entries nobody has: all clients that live have said that they have none, and those
    /// that died have no lease any more.
    async fn orphans(&self) -> Outcome<u64> {
        let died = self.deaths.iter().map(|death| death.at).max();
        let gone = |at: u64| at + (self.ttl + Duration::from_secs(3)).as_nanos() as u64;
        let until = died.map_or(0, gone).max(now() + 500_000_000);
        loop {
            let entries = self.cluster.entries().await?;
            if entries.is_empty() || now() > until {
                return Ok(entries.len() as u64);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn judge(found: &Findings, must: Must, rescued: u64, orphans: u64, wrong: &mut Vec<String>) {
    let some = |all: &[String]| all[..all.len().min(5)].join("\n  ");
    let mut forbid = |what: String, is_so: bool| {
        if is_so {
            wrong.push(what);
        }
    };
    let count = found.overlaps.len();
    forbid(format!("{count} overlaps: {}", some(&found.overlaps)), count > 0 && !must.may_overlap);
    let count = found.violations.len();
    forbid(format!("{count} violations: {}", some(&found.violations)), count > 0);
    forbid(format!("{} places or locks were lost", found.lost), found.lost > 0 && !must.may_lose);
    forbid(format!("{} had no answer", found.unavailable), found.unavailable > 0 && !must.may_lose);
    forbid(
        format!("{rescued} were rescued by the safety net"),
        rescued > 0 && !must.may_be_rescued,
    );
    forbid(format!("{orphans} orphans"), orphans > 0);
    let gap = Duration::from_nanos(found.gap);
    forbid(format!("a gap of {gap:?}, which is longer than {:?}", must.gap), gap > must.gap);
    let dead = Duration::from_nanos(found.behind_the_dead);
    let limit = must.behind_the_dead;
    forbid(format!("{dead:?} behind a dead one, which is longer than {limit:?}"), dead > limit);
}
