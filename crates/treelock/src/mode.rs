//! Lock modes, their conflicts and their lattice, after Gray, Lorie and Putzolu, "Granularity of
//! locks in a shared data base" (VLDB 1975).
//!
//! A read or write on a node covers everything below it. It also leaves an *intention* on each
//! ancestor, so that a request for an ancestor can see it. A cross marks a conflict:
//!
//! ```text
//!        IS   IX   S    SIX  X
//! IS     .    .    .    .    x      IS   a request reads below
//! IX     .    .    x    x    x      IX   a request writes below
//! S      .    x    .    x    x      S    reads everything here and below
//! SIX    .    x    x    x    x      SIX  S and IX: reads all, writes part of it
//! X      x    x    x    x    x      X    writes everything here and below
//! ```

/// What one request does at one node. Printed as `IS`, `IX`, `S`, `SIX` or `X`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    IntentionShared,
    IntentionExclusive,
    Shared,
    SharedIntentionExclusive,
    Exclusive,
}

use Mode::{
    Exclusive as X, IntentionExclusive as IX, IntentionShared as IS, Shared as S,
    SharedIntentionExclusive as SIX,
};

impl Mode {
    pub(crate) const COUNT: usize = 5;

    /// All modes, in the order of their numbers.
    pub(crate) const ALL: [Mode; Mode::COUNT] = [IS, IX, S, SIX, X];

    /// Returns the modes that conflict with this one: its row of the matrix above.
    pub(crate) const fn conflicts(self) -> ModeSet {
        const ROWS: [ModeSet; Mode::COUNT] = [
            ModeSet::of(&[X]),
            ModeSet::of(&[S, SIX, X]),
            ModeSet::of(&[IX, SIX, X]),
            ModeSet::of(&[IX, S, SIX, X]),
            ModeSet::of(&[IS, IX, S, SIX, X]),
        ];
        ROWS[self as usize]
    }

    /// Returns the weakest mode that covers both. A request has a single mode at a node, however
    /// many of its roots lie there or below.
    pub(crate) const fn join(self, other: Mode) -> Mode {
        const ROWS: [[Mode; Mode::COUNT]; Mode::COUNT] = [
            [IS, IX, S, SIX, X],
            [IX, IX, SIX, SIX, X],
            [S, SIX, S, SIX, X],
            [SIX, SIX, SIX, SIX, X],
            [X, X, X, X, X],
        ];
        ROWS[self as usize][other as usize]
    }

    /// Returns the mode that a claim of this mode leaves on each proper ancestor of its node.
    pub(crate) const fn intention(self) -> Mode {
        match self {
            IS | S => IS,
            IX | SIX | X => IX,
        }
    }
}

/// A set of modes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModeSet(u8);

impl ModeSet {
    const fn of(modes: &[Mode]) -> ModeSet {
        let mut bits = 0;
        let mut i = 0;
        while i < modes.len() {
            bits |= 1 << modes[i] as u8;
            i += 1;
        }
        ModeSet(bits)
    }

    pub(crate) fn insert(&mut self, mode: Mode) {
        self.0 |= 1 << mode as u8;
    }

    pub(crate) fn remove(&mut self, mode: Mode) {
        self.0 &= !(1 << mode as u8);
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn union(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 | other.0)
    }

    pub(crate) const fn intersection(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 & other.0)
    }

    pub(crate) const fn intersects(self, other: ModeSet) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn contains(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// Returns the modes of the set, in the order of their numbers.
    pub(crate) fn iter(self) -> impl Iterator<Item = Mode> {
        Mode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the parts of a mode: whether it reads or writes at its node, and whether it reads or
    /// writes below it.
    fn parts(mode: Mode) -> &'static [Mode] {
        match mode {
            IS => &[IS],
            IX => &[IX],
            S => &[S],
            SIX => &[S, IX],
            X => &[X],
        }
    }

    #[test]
    fn the_matrix_is_symmetric() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                assert_eq!(a.conflicts().contains(b), b.conflicts().contains(a), "{a:?} {b:?}");
            }
        }
    }

    /// C2: a joined mode conflicts with exactly what one of its parts conflicts with. So joining
    /// the roots of one request at a node neither misses a conflict nor invents one.
    #[test]
    fn a_join_conflicts_exactly_with_what_its_parts_conflict_with() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                assert_eq!(
                    a.join(b).conflicts(),
                    a.conflicts().union(b.conflicts()),
                    "{a:?} {b:?}"
                );
            }
        }
    }

    #[test]
    fn join_is_a_lattice() {
        for a in Mode::ALL {
            assert_eq!(a.join(a), a);
            for b in Mode::ALL {
                assert_eq!(a.join(b), b.join(a));
                for c in Mode::ALL {
                    assert_eq!(a.join(b).join(c), a.join(b.join(c)));
                }
            }
        }
    }

    #[test]
    fn an_intention_is_the_join_of_the_intentions_of_the_parts() {
        for mode in Mode::ALL {
            let joined =
                parts(mode).iter().map(|part| part.intention()).reduce(Mode::join).unwrap();
            assert_eq!(mode.intention(), joined);
        }
    }
}
