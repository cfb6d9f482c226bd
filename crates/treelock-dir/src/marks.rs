//! The marks of a request: where it is entered in the [index](crate::index), and where it looks
//! there for what conflicts with it.

use std::{cell::Cell, hash::Hasher};

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

/// How a request is entered at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads the node with everything below it.
    Reads,
    /// It writes the node with everything below it.
    Writes,
    /// It reads something below the node.
    ReadsBelow,
    /// It writes something below the node.
    WritesBelow,
}

impl Kind {
    pub(crate) const COUNT: usize = 4;
    const ALL: [Kind; Kind::COUNT] =
        [Kind::Reads, Kind::Writes, Kind::ReadsBelow, Kind::WritesBelow];
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    const fn of(kinds: &[Kind]) -> Kinds {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u8;
            at += 1;
        }
        Kinds(bits)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Kind> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let kind = Kind::ALL.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(*kind)
        })
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// What a request has to do with a node.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Of the node.
    pub(crate) hash: u64,
    pub(crate) enters: Kinds,
    /// The kinds that conflict with it at this node.
    pub(crate) looks_for: Kinds,
    /// The link to its place in the index when it was looked for, or 0 if there was none. The place
    /// may be another node's by now.
    pub(crate) place: Cell<u32>,
}

/// What a root means at its node and at the ancestors, as it enters them and as it looks there.
const AT_READ: (Kinds, Kinds) =
    (Kinds::of(&[Kind::Reads]), Kinds::of(&[Kind::Writes, Kind::WritesBelow]));
const AT_WRITE: (Kinds, Kinds) = (Kinds::of(&[Kind::Writes]), Kinds::of(&Kind::ALL));
const ABOVE_READ: (Kinds, Kinds) = (Kinds::of(&[Kind::ReadsBelow]), Kinds::of(&[Kind::Writes]));
const ABOVE_WRITE: (Kinds, Kinds) =
    (Kinds::of(&[Kind::WritesBelow]), Kinds::of(&[Kind::Reads, Kind::Writes]));

/// Collects the marks of a request.
pub(crate) struct Marks {
    hasher: SipHasher13,
    marks: SmallVec<[Mark; 8]>,
    roots: usize,
}

impl Marks {
    /// Begins with the key of a table.
    pub(crate) fn new([one, two]: [u64; 2]) -> Marks {
        let hasher = SipHasher13::new_with_keys(one, two);
        Marks { hasher, marks: SmallVec::new(), roots: 0 }
    }

    /// Adds a root by its components, each with its length in front, as they are stored. If its
    /// ancestors do not follow from its name, they are given in the same form.
    pub(crate) fn add<'n>(
        &mut self,
        write: bool,
        components: impl Iterator<Item = &'n [u8]>,
        above: Option<impl Iterator<Item = &'n [u8]>>,
    ) {
        self.roots += 1;
        let follow = above.is_none();
        let mut hasher = self.hasher;
        for component in components {
            if follow {
                self.push(hasher.finish(), if write { ABOVE_WRITE } else { ABOVE_READ });
            }
            hasher.write(component);
        }
        self.push(hasher.finish(), if write { AT_WRITE } else { AT_READ });
        for ancestor in above.into_iter().flatten() {
            // An ancestor may be given more than once.
            self.roots += 1;
            let mut hasher = self.hasher;
            hasher.write(ancestor);
            self.push(hasher.finish(), if write { ABOVE_WRITE } else { ABOVE_READ });
        }
    }

    fn push(&mut self, hash: u64, (enters, looks_for): (Kinds, Kinds)) {
        self.marks.push(Mark { hash, enters, looks_for, place: Cell::new(0) });
    }

    /// Returns the marks, one for each node.
    pub(crate) fn finish(mut self) -> SmallVec<[Mark; 8]> {
        if self.roots > 1 {
            self.marks.sort_unstable_by_key(|mark| mark.hash);
            self.marks.dedup_by(|mark, before| {
                let same = mark.hash == before.hash;
                if same {
                    before.enters.0 |= mark.enters.0;
                    before.looks_for.0 |= mark.looks_for.0;
                }
                same
            });
        }
        self.marks
    }
}
