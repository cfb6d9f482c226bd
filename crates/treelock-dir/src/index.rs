//! The index: for each node, which requests read or write it, and which read or write something
//! below it. So a request finds what conflicts with it by looking at its own nodes and their
//! ancestors, whatever else is in the table (C7).
//!
//! A *place* stands for a node, by a hash of the node; equal hashes of different nodes only lead to
//! a record that does not conflict after all. Each place has four lists of *entries*, one for each
//! [`Kind`]. A request has an entry at each of its nodes and at each ancestor of these. A place
//! without entries is given back.
//!
//! All of it belongs to the holder of the latch. It is a cache of the records: if it is found to be
//! wrong, or if somebody died while changing it, it is built again. So all its numbers are checked
//! before they are used, and a walk that does not end is [`Broken`].

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{
    format::{
        header::{self, Number},
        layout::{self, ENTRY_HALVES, PLACE_HALVES},
    },
    marks::{Kind, Mark},
    memory::{Broken, Memory},
};

/// The index of a table, while the latch is held.
pub(crate) struct Index<'a> {
    memory: &'a Memory,
    halves: &'a [AtomicU32],
    layout: layout::Index,
}

// The fields of a place, from its start.
const HASH: usize = 0;
const NEXT_PLACE: usize = 2;
const FIRST: usize = 4;

// The fields of an entry.
const PLACE: usize = 0;
const CELL: usize = 1;
const KIND: usize = 2;
const BEFORE: usize = 3;
const BEHIND: usize = 4;
const SIBLING: usize = 5;

// Links are the number of what they lead to plus one, and 0 if they lead to nothing.

impl<'a> Index<'a> {
    /// Returns the index that is in use.
    pub(crate) fn new(memory: &'a Memory) -> Result<Index<'a>, Broken> {
        let (map, layout) = memory.chunk(memory.chunk_count()? - 1)?;
        Ok(Index { memory, halves: map.halves(), layout: layout.index })
    }

    fn get(&self, at: usize) -> u32 {
        self.halves[at].load(Ordering::Relaxed)
    }

    fn set(&self, at: usize, value: u32) {
        self.halves[at].store(value, Ordering::Relaxed);
    }

    /// Returns where the place begins that a link leads to, if it leads to one.
    fn place(&self, link: u32) -> Result<Option<usize>, Broken> {
        let Some(number) = (link as usize).checked_sub(1) else { return Ok(None) };
        let known = number < self.layout.place_count;
        known.then_some(Some(self.layout.places + number * PLACE_HALVES)).ok_or(Broken)
    }

    /// Returns where the entry begins that a link leads to, if it leads to one.
    fn entry(&self, link: u32) -> Result<Option<usize>, Broken> {
        let Some(number) = (link as usize).checked_sub(1) else { return Ok(None) };
        let known = number < self.layout.entry_count;
        known.then_some(Some(self.layout.entries + number * ENTRY_HALVES)).ok_or(Broken)
    }

    fn bucket(&self, hash: u64) -> usize {
        self.layout.buckets + (hash as usize & (self.layout.bucket_count - 1))
    }

    fn hash(&self, place: usize) -> u64 {
        u64::from(self.get(place + HASH)) | u64::from(self.get(place + HASH + 1)) << 32
    }

    /// Returns the link to the place of a node, and where that link is stored. The link is 0 if
    /// there is no place for the node.
    fn find(&self, hash: u64) -> Result<(u32, usize), Broken> {
        let mut at = self.bucket(hash);
        for _ in 0..=self.layout.place_count {
            let link = self.get(at);
            match self.place(link)? {
                Some(place) if self.hash(place) != hash => at = place + NEXT_PLACE,
                _ => return Ok((link, at)),
            }
        }
        Err(Broken)
    }

    /// Calls `found` with the cell of each request that these marks look for, possibly more than
    /// once.
    pub(crate) fn look(&self, marks: &[Mark], mut found: impl FnMut(usize)) -> Result<(), Broken> {
        for mark in marks {
            let (link, _) = self.find(mark.hash)?;
            mark.place.set(link);
            let Some(place) = self.place(link)? else { continue };
            for kind in mark.looks_for.iter() {
                let mut link = self.get(place + FIRST + kind as usize);
                let mut steps = 0;
                while let Some(entry) = self.entry(link)? {
                    found(self.get(entry + CELL) as usize);
                    link = self.get(entry + BEHIND);
                    steps += 1;
                    if steps > self.layout.entry_count {
                        return Err(Broken);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns whether there is room for these marks.
    pub(crate) fn has_room(&self, marks: &[Mark]) -> bool {
        let entries: usize = marks.iter().map(|mark| mark.enters.len()).sum();
        let used = |numbers: [Number; 3]| self.memory.get(numbers[2]) as usize;
        used(header::PLACES).saturating_add(marks.len()) <= self.layout.place_count
            && used(header::ENTRIES).saturating_add(entries) <= self.layout.entry_count
    }

    /// Enters a request, for which there is room. Returns the link to its first entry.
    pub(crate) fn enter(&self, cell: usize, marks: &[Mark]) -> Result<u32, Broken> {
        let mut first = 0;
        for mark in marks {
            let (place_link, place) = self.find_or_add(mark)?;
            for kind in mark.enters.iter() {
                let link = self.take(header::ENTRIES, self.layout.entry_count, |link| {
                    Ok(self.get(self.entry(link)?.ok_or(Broken)? + BEHIND))
                })?;
                let entry = self.entry(link)?.ok_or(Broken)?;
                let list = place + FIRST + kind as usize;
                let behind = self.get(list);
                self.set(entry + PLACE, place_link);
                self.set(entry + CELL, cell as u32);
                self.set(entry + KIND, kind as u32);
                self.set(entry + BEFORE, 0);
                self.set(entry + BEHIND, behind);
                self.set(entry + SIBLING, first);
                if let Some(behind) = self.entry(behind)? {
                    self.set(behind + BEFORE, link);
                }
                self.set(list, link);
                first = link;
            }
        }
        Ok(first)
    }

    /// Returns the place of a mark, and the link to it.
    fn find_or_add(&self, mark: &Mark) -> Result<(u32, usize), Broken> {
        let hash = mark.hash;
        let known = mark.place.get();
        if let Some(place) = self.place(known)?
            && self.hash(place) == hash
            && self.is_used(place)
        {
            return Ok((known, place));
        }
        let (found, _) = self.find(hash)?;
        if let Some(place) = self.place(found)? {
            return Ok((found, place));
        }
        let link = self.take(header::PLACES, self.layout.place_count, |link| {
            Ok(self.get(self.place(link)?.ok_or(Broken)? + NEXT_PLACE))
        })?;
        let place = self.place(link)?.ok_or(Broken)?;
        let bucket = self.bucket(hash);
        self.set(place + HASH, hash as u32);
        self.set(place + HASH + 1, (hash >> 32) as u32);
        self.set(place + NEXT_PLACE, self.get(bucket));
        for kind in 0..Kind::COUNT {
            self.set(place + FIRST + kind, 0);
        }
        self.set(bucket, link);
        Ok((link, place))
    }

    /// Returns whether a place has any entries.
    fn is_used(&self, place: usize) -> bool {
        (0..Kind::COUNT).any(|kind| self.get(place + FIRST + kind) != 0)
    }

    /// Takes the entries of a request out, from its first one on.
    pub(crate) fn remove(&self, first: u32) -> Result<(), Broken> {
        let mut link = first;
        for _ in 0..=self.layout.entry_count {
            let Some(entry) = self.entry(link)? else { return Ok(()) };
            let sibling = self.get(entry + SIBLING);
            self.remove_entry(link, entry)?;
            link = sibling;
        }
        Err(Broken)
    }

    fn remove_entry(&self, link: u32, entry: usize) -> Result<(), Broken> {
        let (before, behind) = (self.get(entry + BEFORE), self.get(entry + BEHIND));
        let place_link = self.get(entry + PLACE);
        let place = self.place(place_link)?.ok_or(Broken)?;
        let kind = self.get(entry + KIND) as usize;
        if let Some(behind) = self.entry(behind)? {
            self.set(behind + BEFORE, before);
        }
        match self.entry(before)? {
            Some(before) => self.set(before + BEHIND, behind),
            None if kind < Kind::COUNT => self.set(place + FIRST + kind, behind),
            None => return Err(Broken),
        }
        self.give(header::ENTRIES, link, entry + BEHIND);
        if !self.is_used(place) {
            let (found, at) = self.find(self.hash(place))?;
            if found != place_link {
                return Err(Broken);
            }
            self.set(at, self.get(place + NEXT_PLACE));
            self.give(header::PLACES, place_link, place + NEXT_PLACE);
        }
        Ok(())
    }

    /// Takes something from a list of free ones, or the next one that was never used.
    fn take(
        &self,
        [free, used, count]: [Number; 3],
        end: usize,
        next: impl Fn(u32) -> Result<u32, Broken>,
    ) -> Result<u32, Broken> {
        let memory = self.memory;
        memory.set(count, memory.get(count).saturating_add(1));
        let link = memory.get(free) as u32;
        if link != 0 {
            memory.set(free, next(link)?.into());
            return Ok(link);
        }
        let number = memory.get(used);
        if number >= end as u64 {
            return Err(Broken);
        }
        memory.set(used, number + 1);
        Ok(number as u32 + 1)
    }

    /// Gives something back, whose link to the next free one is stored at `at`.
    fn give(&self, [free, _, count]: [Number; 3], link: u32, at: usize) {
        self.set(at, self.memory.get(free) as u32);
        self.memory.set(free, link.into());
        self.memory.set(count, self.memory.get(count).saturating_sub(1));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let buckets = self.layout.buckets..self.layout.buckets + self.layout.bucket_count;
        buckets.for_each(|bucket| self.set(bucket, 0));
        for number in header::PLACES.into_iter().chain(header::ENTRIES) {
            self.memory.set(number, 0);
        }
    }
}
