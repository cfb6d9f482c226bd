//! Processes that acquire and release at the same time, each on a node of its own.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::place::{Process, Program, scratch};
use crate::measure::Contender;

/// Some processes, which work when they are told to.
pub(super) struct Crew {
    members: Vec<Process>,
    /// Where nobody else works.
    _own_place: Option<TempDir>,
}

/// The times of all pairs of one slice, in ns, the shortest first.
struct Times(Vec<u32>);

impl Times {
    fn quantile(&self, quantile: f64) -> f64 {
        let last = self.0.len() - 1;
        f64::from(self.0[(last as f64 * quantile).round() as usize])
    }
}

impl Crew {
    /// Starts so many processes in a place of their own.
    pub(super) fn alone(program: &Program, count: usize) -> Crew {
        let place = scratch();
        let crew = Crew::start(program, place.path(), count);
        Crew { _own_place: Some(place), ..crew }
    }

    /// Starts so many processes in a place where others may be.
    pub(super) fn start(program: &Program, place: &Path, count: usize) -> Crew {
        let start = |number| {
            let (process, line) = Process::start(program.command("pairs", place, &[number]));
            assert_eq!(line, "ready", "{} has failed", program.name);
            process
        };
        Crew { members: (0..count).map(start).collect(), _own_place: None }
    }

    /// Tells all to work for this long.
    pub(super) fn begin(&mut self, slice: Duration) {
        for Process(member) in &mut self.members {
            let input = member.stdin.as_mut().expect("piped");
            writeln!(input, "{}", slice.as_millis()).expect("it listens");
        }
    }

    /// Waits until all are done, and returns the longest time of a pair in ns.
    pub(super) fn longest(&mut self) -> f64 {
        self.end().quantile(1.0)
    }

    /// Waits until all are done.
    fn end(&mut self) -> Times {
        let mut times = Vec::new();
        for Process(member) in &mut self.members {
            let out = member.stdout.as_mut().expect("piped");
            let mut read = |count: usize| {
                let mut bytes = vec![0; count * 4];
                out.read_exact(&mut bytes).expect("it writes what it has measured");
                let word = |word: &[u8]| u32::from_le_bytes(word.try_into().expect("four bytes"));
                bytes.chunks_exact(4).map(word).collect::<Vec<u32>>()
            };
            let count = read(1)[0] as usize;
            times.extend(read(count));
        }
        times.sort_unstable();
        Times(times)
    }

    /// Returns a contender whose sample is the median time of a pair, and which keeps the 5th and
    /// the 95th percentile of each sample.
    pub(super) fn contender<'a>(
        mut self,
        name: &str,
        slice: Duration,
        tails: &'a RefCell<Vec<[f64; 2]>>,
    ) -> Contender<'a> {
        Contender::new(name, move || {
            self.begin(slice);
            let times = self.end();
            tails.borrow_mut().push([0.05, 0.95].map(|quantile| times.quantile(quantile)));
            times.quantile(0.5)
        })
    }
}
