//! An arena whose memory use follows its contents.
//!
//! A value keeps its [`Slot`] for as long as it is in the arena. Values live in pages of 16. A page
//! without values gives its memory back, so the pages are bounded by 16 times the number of values
//! (C8). Growing never moves a value. The lowest page with a free slot is filled first, so that the
//! high pages become empty and the list of pages can shrink. That list takes 16 bytes for each 16
//! slots below the highest one in use.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    num::NonZeroU32,
    ops::{Index, IndexMut},
};

const PAGE: usize = 16;

/// Where a value is: its number plus one, so that an `Option<Slot>` is no larger than a `Slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    /// The slot of the first value that is put into an arena.
    pub(crate) const FIRST: Slot = Slot(NonZeroU32::MIN);

    fn new(page: usize, at: usize) -> Slot {
        let number = u32::try_from(page * PAGE + at + 1).expect("fewer than 2^32 values");
        Slot(NonZeroU32::new(number).expect("one more than a number"))
    }

    /// Returns how many slots there are up to and including this one.
    pub(crate) fn number(self) -> usize {
        self.0.get() as usize
    }

    #[inline(always)]
    fn page(self) -> usize {
        (self.0.get() - 1) as usize / PAGE
    }

    #[inline(always)]
    fn at(self) -> usize {
        (self.0.get() - 1) as usize % PAGE
    }
}

pub(crate) struct Arena<T> {
    pages: Vec<Page<T>>,
    /// Pages with a free slot, the lowest first. May contain the numbers of pages that no longer
    /// exist.
    open: BinaryHeap<Reverse<usize>>,
}

struct Page<T> {
    /// `None` where there is no value.
    values: Option<Box<[Option<T>; PAGE]>>,
    /// One bit for each free slot.
    free: u16,
}

impl<T> Page<T> {
    fn new() -> Page<T> {
        let values: Box<[Option<T>]> = (0..PAGE).map(|_| None).collect();
        Page { values: values.try_into().ok(), free: u16::MAX }
    }

    #[inline]
    fn values(&self) -> &[Option<T>; PAGE] {
        self.values.as_ref().expect("a page with values")
    }

    #[inline]
    fn values_mut(&mut self) -> &mut [Option<T>; PAGE] {
        self.values.as_mut().expect("a page with values")
    }
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Arena<T> {
        Arena { pages: Vec::new(), open: BinaryHeap::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Slot {
        let number = self.open_page();
        let page = &mut self.pages[number];
        let at = page.free.trailing_zeros() as usize;
        page.free &= page.free - 1;
        page.values_mut()[at] = Some(value);
        if page.free == 0 {
            self.open.pop();
        }
        Slot::new(number, at)
    }

    /// Returns the page to fill, which is the lowest open one.
    fn open_page(&mut self) -> usize {
        if let Some(&Reverse(number)) = self.open.peek()
            && let Some(page) = self.pages.get_mut(number)
        {
            if page.values.is_none() {
                *page = Page::new();
            }
            return number;
        }
        // All higher ones are gone too.
        self.open.clear();
        let number = self.pages.len();
        self.pages.push(Page::new());
        self.open.push(Reverse(number));
        number
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> T {
        let number = slot.page();
        let page = &mut self.pages[number];
        let value = page.values_mut()[slot.at()].take().expect("a live slot");
        let was_full = page.free == 0;
        page.free |= 1 << slot.at();
        let lowest = self.open.peek().map(|Reverse(lowest)| *lowest);
        if was_full {
            self.open.push(Reverse(number));
            lowest.filter(|lowest| *lowest > number).inspect(|lowest| self.give_back(*lowest));
        } else if page.free == u16::MAX && lowest != Some(number) {
            self.give_back(number);
        }
        value
    }

    /// Frees the memory of a page without values. The page that is filled next is spared, so that
    /// one value that comes and goes does not allocate. At most one page is kept unnecessarily.
    fn give_back(&mut self, number: usize) {
        match self.pages.get_mut(number) {
            Some(page) if page.free == u16::MAX => page.values = None,
            _ => return,
        }
        while self.pages.last().is_some_and(|page| page.values.is_none()) {
            self.pages.pop();
        }
        // The lists of pages shrink at a quarter of their capacity, so that as many pages have gone
        // since the last time as are moved now.
        if self.pages.capacity() > 64 && self.pages.len() < self.pages.capacity() / 4 {
            self.pages.shrink_to(2 * self.pages.len());
            self.open.retain(|Reverse(number)| *number < self.pages.len());
            self.open.shrink_to(2 * self.open.len());
        }
    }

    /// Returns all values, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = self.pages.iter().filter_map(|page| page.values.as_deref());
        pages.flat_map(|values| values.iter().flatten())
    }
}

impl<T> Index<Slot> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: Slot) -> &T {
        self.pages[slot.page()].values()[slot.at()].as_ref().expect("a live slot")
    }
}

impl<T> IndexMut<Slot> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.pages[slot.page()].values_mut()[slot.at()].as_mut().expect("a live slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 1024;

    /// Slots stay unique and keep their values, and only pages that contain values are kept.
    #[test]
    fn slots_are_stable_and_memory_follows_the_values() {
        for step in [1, 7, 63, 65, 511, 1023] {
            let mut arena = Arena::new();
            for round in 0..3 {
                let slots: Vec<Slot> = (0..COUNT).map(|i| arena.insert(i)).collect();
                for i in 0..COUNT {
                    assert_eq!(arena[slots[i]], i, "step {step}, round {round}");
                }
                // An odd step visits every slot once, in a different order each time.
                for i in (0..COUNT).map(|i| i * step % COUNT) {
                    assert_eq!(arena.remove(slots[i]), i);
                }
                assert_eq!(arena.iter().count(), 0);
                let kept = arena.pages.iter().filter(|page| page.values.is_some()).count();
                assert!(kept <= 1, "step {step}, round {round}: {kept} pages kept");
                let lists = arena.pages.capacity().max(arena.open.capacity());
                assert!(lists <= 2 * COUNT / PAGE, "step {step}, round {round}: {lists} entries");
            }
        }
    }
}
