//! The paths that are locked, and the random numbers that choose them.

/// How many leaves a measuring loop cycles through, so that no peer benefits from one hot entry.
pub const LEAVES: usize = 8;

/// Returns a path with `depth` components of five bytes, a leading slash and its own `leaf`.
///
/// ```
/// assert_eq!(treelock_bench::paths::path(3, 7), "/dir00/dir01/leaf7");
/// ```
pub fn path(depth: usize, leaf: usize) -> String {
    below("", 0, depth, leaf)
}

/// Returns the paths that a measuring loop cycles through at `depth`: siblings in one directory.
pub fn cycle(depth: usize) -> Vec<String> {
    (0..LEAVES).map(|leaf| path(depth, leaf)).collect()
}

/// Returns a path of `depth` components whose first one is `top`, so that it shares only the root.
pub fn below_top(top: &str, depth: usize, leaf: usize) -> String {
    below(&format!("/{top}"), 1, depth, leaf)
}

fn below(start: &str, from: usize, depth: usize, leaf: usize) -> String {
    let mut path = start.to_owned();
    for level in from..depth.saturating_sub(1) {
        path.push_str(&format!("/dir{level:02}"));
    }
    if depth > from {
        path.push_str(&format!("/leaf{leaf}"));
    }
    path
}

/// Returns the prefixes of the path and the path itself, beginning with the root (the empty
/// string).
///
/// ```
/// let nodes: Vec<_> = treelock_bench::paths::prefixes("/a/b").collect();
/// assert_eq!(nodes, ["", "/a", "/a/b"]);
/// ```
pub fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.bytes().enumerate().filter(|&(_, byte)| byte == b'/').map(|(end, _)| end);
    ends.chain([path.len()]).map(|end| &path[..end])
}

/// xorshift64*: small, fast, and the same numbers in every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Zipf's law with exponent 1 over `0..size`: the item of rank `k` is drawn in proportion to `1/k`.
#[derive(Clone, Debug)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Prepares draws from `0..size`.
    pub fn new(size: usize) -> Self {
        let total: f64 = (1..=size).map(|rank| 1.0 / rank as f64).sum();
        let mut sum = 0.0;
        Zipf(
            (1..=size)
                .map(|rank| {
                    sum += 1.0 / rank as f64 / total;
                    sum
                })
                .collect(),
        )
    }

    /// Draws one item.
    pub fn draw(&self, random: &mut Random) -> usize {
        let unit = random.unit();
        self.0.partition_point(|&sum| sum < unit).min(self.0.len() - 1)
    }
}
