//! Interleaved rounds and medians.
//!
//! A shared machine drifts by a factor of two within minutes, so absolute times from different
//! moments cannot be compared. Contenders therefore take turns in short slices, in a rotating
//! order, and a ratio is the median of the ratios within the rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use treelock_bench::peers::Peer;

/// How long and how often to measure.
pub(crate) struct Bench {
    /// Whether to use fewer and smaller sizes.
    pub(crate) quick: bool,
    rounds: usize,
    progress: ProgressBar,
}

impl Bench {
    pub(crate) fn new(quick: bool, rounds: Option<usize>, progress: ProgressBar) -> Self {
        Bench { quick, rounds: rounds.unwrap_or(if quick { 5 } else { 15 }).max(1), progress }
    }

    /// Returns the number of rounds of short slices.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Returns the number of rounds for slow workloads: a third of the usual number.
    pub(crate) fn few_rounds(&self) -> usize {
        self.rounds.div_ceil(3)
    }

    /// Returns `full` or, with `--quick`, `quick`.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Lets the contenders take turns. Each has been warmed up by its calibration.
    pub(crate) fn compare(&self, rounds: usize, mut contenders: Vec<Contender<'_>>) -> Comparison {
        let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
        let count = contenders.len();
        for round in 0..rounds {
            for turn in 0..count {
                let index = (round + turn) % count;
                samples[index].push((contenders[index].sample)());
            }
            self.progress.tick();
        }
        let names = contenders.into_iter().map(|contender| contender.name).collect();
        Comparison { names, samples }
    }

    /// Returns a contender whose `run` does a given number of operations. The sample is ns per
    /// operation.
    pub(crate) fn timed<'a>(
        &self,
        name: impl Into<String>,
        mut run: impl FnMut(u64) + 'a,
    ) -> Contender<'a> {
        let slice = self.pick(Duration::from_millis(4), Duration::from_millis(2));
        let mut count = 1;
        // Doubling until a slice is filled serves as both calibration and warm-up.
        while time(|| run(count)) < slice {
            count *= 2;
        }
        Contender::new(name, move || time(|| run(count)).as_nanos() as f64 / count as f64)
    }

    /// Returns a contender that locks and unlocks `paths` in turn.
    pub(crate) fn pairs<'a, P: Peer>(&self, peer: &'a P, paths: &'a [String]) -> Contender<'a> {
        assert!(paths.len().is_power_of_two(), "cycling must cost an `and`, not a division");
        let mask = paths.len() - 1;
        self.timed(P::NAME, move |count| {
            for turn in 0..count {
                drop(black_box(peer.write(black_box(&paths[turn as usize & mask]))));
            }
        })
    }
}

/// Runs `work` once. Returns how long it took.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// One of the things compared. A sample is the number of one round, in any unit.
pub(crate) struct Contender<'a> {
    name: String,
    sample: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Self {
        Contender { name: name.into(), sample: Box::new(sample) }
    }

    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// The samples of all contenders, in their order.
pub(crate) struct Comparison {
    names: Vec<String>,
    samples: Vec<Vec<f64>>,
}

impl Comparison {
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn median(&self, index: usize) -> f64 {
        median(self.samples[index].clone())
    }

    /// Returns the median of `above / below` within the rounds.
    pub(crate) fn ratio(&self, above: usize, below: usize) -> f64 {
        self.derived(|round| round[above] / round[below])
    }

    /// Returns the median of `derive`, applied to each round's samples.
    pub(crate) fn derived(&self, derive: impl Fn(&[f64]) -> f64) -> f64 {
        let rounds = self.samples.first().map_or(0, Vec::len);
        let round = |index| self.samples.iter().map(|own| own[index]).collect::<Vec<_>>();
        median((0..rounds).map(|index| derive(&round(index))).collect())
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}
