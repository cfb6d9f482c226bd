//! The herd: starts the workers, kills them, and looks at what is left.

use std::{
    env, fmt,
    io::{self, IsTerminal, stderr},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use treelock::{Request, Wait, engine::Severity};

use crate::{
    marks::{Counts, Marks},
    worker::Told,
};

/// How many workers are never killed: what they wait for is not cut short.
const SPARED: usize = 2;

/// The mean time from one kill to the next is half of this, and what a start takes.
const PAUSE: Duration = Duration::from_micros(800);

/// How long workers may need to end once they are told to. They wait for one another only.
const END: Duration = Duration::from_secs(60);

/// How often a long run says how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: u64,
    /// After how many kills all workers end, so that the table must be empty.
    pub(crate) round: u64,
    pub(crate) seed: u64,
    pub(crate) told: Told,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    kills: u64,
    rounds: u64,
    pub(crate) counts: Counts,
    /// Live requests that were left after all workers had ended.
    residue: usize,
    took: Duration,
    /// What else should not be.
    wrong: Vec<String>,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        let Counts { overlaps, stale_tokens, lost_wake_ups, .. } = self.counts;
        overlaps + stale_tokens + lost_wake_ups == 0 && self.residue == 0 && self.wrong.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let seconds = self.took.as_secs_f64();
        let rows = [
            ("kills", self.kills.to_string()),
            ("kills per second", format!("{:.0}", self.kills as f64 / seconds)),
            ("rounds, each of which ended at rest", self.rounds.to_string()),
            ("requests", counts.requests.to_string()),
            ("grants", counts.grants.to_string()),
            ("longest wait", format!("{:.1} ms", counts.longest_wait as f64 / 1e3)),
            ("**overlaps**", counts.overlaps.to_string()),
            ("**tokens that did not grow**", counts.stale_tokens.to_string()),
            ("**lost wake-ups**", counts.lost_wake_ups.to_string()),
            ("**live requests left behind**", self.residue.to_string()),
            ("**other failures**", self.wrong.len().to_string()),
        ];
        writeln!(f, "| {:<35} | {:>12} |\n| {:-<35} | {:->11}: |", "", "", "", "")?;
        for (name, value) in rows {
            writeln!(f, "| {name:<35} | {value:>12} |")?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "\n{wrong}"))
    }
}

/// The workers.
struct Herd<'a> {
    plan: &'a Plan,
    marks: Marks,
    random: Rng,
    workers: Vec<(u64, Child)>,
    last_number: u64,
    outcome: Outcome,
}

/// Carries out a plan. Returns an error if it cannot be carried out.
pub(crate) fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut herd = Herd {
        plan,
        marks: plan.told.marks()?,
        random: Rng::with_seed(plan.seed),
        workers: Vec::new(),
        last_number: 0,
        outcome: Outcome::default(),
    };
    let start = Instant::now();
    let ran = herd.rounds(start);
    // Nobody may be left if a round could not be finished.
    for (_, mut worker) in herd.workers.drain(..) {
        let _ = worker.kill();
        let _ = worker.wait();
    }
    ran?;
    herd.outcome.took = start.elapsed();
    herd.outcome.counts = herd.marks.sum()?;
    Ok(herd.outcome)
}

impl Herd<'_> {
    fn rounds(&mut self, start: Instant) -> io::Result<()> {
        let mut reported = start;
        while self.outcome.kills < self.plan.kills && self.outcome.wrong.is_empty() {
            self.round()?;
            if reported.elapsed() > REPORT_INTERVAL || stderr().is_terminal() {
                reported = Instant::now();
                let (kills, seconds) = (self.outcome.kills, start.elapsed().as_secs_f64());
                let rate = kills as f64 / seconds;
                eprintln!("{kills} of {} kills, {rate:.0} per second", self.plan.kills);
            }
        }
        if self.outcome.wrong.is_empty() && self.plan.told.locks {
            let checked = self.plan.told.lock().check().wait();
            let found = checked.map_err(io::Error::other)?;
            let at_fault = found.into_iter().filter(|it| it.severity > Severity::Good);
            self.outcome.wrong.extend(at_fault.map(|it| format!("check: {it:?}")));
        }
        Ok(())
    }

    /// Starts all workers, kills some of them, and lets all end.
    fn round(&mut self) -> io::Result<()> {
        self.marks.set_stop(false)?;
        for row in 0..self.plan.told.workers {
            let worker = self.start(row)?;
            self.workers.push(worker);
        }
        let left = self.plan.kills - self.outcome.kills;
        for _ in 0..left.min(self.plan.round) {
            thread::sleep(PAUSE.mul_f64(self.random.f64()));
            // Sleeping ends at a tick of the clock, and spinning does not.
            (0..self.random.u32(..2000)).for_each(|_| std::hint::spin_loop());
            let row = self.random.usize(SPARED..self.plan.told.workers);
            self.kill(row)?;
        }
        self.marks.set_stop(true)?;
        let deadline = Instant::now() + END;
        while let Some((number, mut worker)) = self.workers.pop() {
            match end(&mut worker, deadline)? {
                Some(status) if status.success() => {}
                Some(status) => self.wrong(format!("worker {number} failed: {status}")),
                None => {
                    let snapshot = self.plan.told.lock().snapshot().wait();
                    let snapshot = snapshot.map_err(io::Error::other)?;
                    let pid = worker.id();
                    self.workers.push((number, worker));
                    let what = format!("worker {number} (pid {pid}) has not ended in {END:?}");
                    self.wrong(format!("{what}:\n{snapshot}"));
                    return Ok(());
                }
            }
        }
        self.outcome.rounds += 1;
        self.look_at_the_rest();
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        self.outcome.wrong.push(what);
    }

    fn start(&mut self, row: usize) -> io::Result<(u64, Child)> {
        self.last_number += 1;
        let number = self.last_number;
        let told = Told { row, number, ..self.plan.told.clone() };
        let mut command = Command::new(env::current_exe()?);
        command.arg("worker").args(told.words()).stdin(Stdio::null()).stdout(Stdio::null());
        Ok((number, command.spawn()?))
    }

    /// Kills a worker and starts another one in its row.
    fn kill(&mut self, row: usize) -> io::Result<()> {
        let (number, worker) = &mut self.workers[row];
        self.marks.sentence(row, *number)?;
        worker.kill()?;
        let status = worker.wait()?;
        if status.signal() != Some(9) {
            let what = format!("worker {number} ended before it was killed: {status}");
            self.outcome.wrong.push(what);
        }
        self.outcome.kills += 1;
        self.workers[row] = self.start(row)?;
        Ok(())
    }

    /// Checks that nothing is live and everything can be acquired.
    fn look_at_the_rest(&mut self) {
        if !self.plan.told.locks {
            return;
        }
        let lock = self.plan.told.lock();
        match lock.snapshot().wait() {
            Ok(snapshot) if snapshot.entries.is_empty() => {}
            Ok(snapshot) => {
                self.outcome.residue += snapshot.entries.len();
                self.wrong(format!("live after all have ended:\n{snapshot}"));
            }
            Err(error) => self.wrong(format!("no snapshot after all have ended: {error}")),
        }
        let everything = Request::new().write("/").expect("the root is a valid node");
        if let Err(error) = lock.try_acquire(&everything).wait() {
            self.wrong(format!("refused after all have ended: {error}"));
        }
    }
}

/// Waits until a worker has ended, or returns nothing at the deadline.
fn end(worker: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
