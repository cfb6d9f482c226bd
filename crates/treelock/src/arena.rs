//! Places that keep their number: an arena whose memory follows its contents.
//!
//! Values live in pages of 16. A page without values gives its memory back, so the memory is bounded
//! by 16 times the number of values (C8), growing never moves a value, and no single insertion pays
//! for all that came before it.

use std::ops::{Index, IndexMut};

const PAGE: usize = 16;

pub(crate) struct Arena<T> {
    pages: Vec<Page<T>>,
    /// Pages with a free place; the last one is filled first. May hold numbers of pages that were
    /// given back since.
    open: Vec<u32>,
}

struct Page<T> {
    /// `None` where there is no value.
    values: Option<Box<[Option<T>; PAGE]>>,
    /// A bit for each free place.
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
        Arena { pages: Vec::new(), open: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.open_page();
        let page = &mut self.pages[number as usize];
        let at = page.free.trailing_zeros();
        page.free &= page.free - 1;
        page.values_mut()[at as usize] = Some(value);
        if page.free == 0 {
            self.open.pop();
        }
        number * PAGE as u32 + at
    }

    /// The page to fill, which is the last open one.
    fn open_page(&mut self) -> u32 {
        while let Some(number) = self.open.last() {
            if let Some(page) = self.pages.get_mut(*number as usize) {
                if page.values.is_none() {
                    *page = Page::new();
                }
                return *number;
            }
            self.open.pop();
        }
        let number = self.pages.len() as u32;
        self.pages.push(Page::new());
        self.open.push(number);
        number
    }

    pub(crate) fn remove(&mut self, place: u32) -> T {
        let number = place / PAGE as u32;
        let page = &mut self.pages[number as usize];
        let value = page.values_mut()[place as usize % PAGE].take().expect("a live place");
        let was_full = page.free == 0;
        page.free |= 1 << (place % PAGE as u32);
        if was_full {
            let last = self.open.last().copied();
            self.open.push(number);
            last.inspect(|last| self.give_back(*last));
        } else if page.free == u16::MAX && self.open.last() != Some(&number) {
            self.give_back(number);
        }
        value
    }

    /// Free the memory of a page without values. The page that is filled next is spared, so that one
    /// value that comes and goes does not allocate: at most one page is kept without need.
    fn give_back(&mut self, number: u32) {
        match self.pages.get_mut(number as usize) {
            Some(page) if page.free == u16::MAX => page.values = None,
            _ => return,
        }
        while self.pages.last().is_some_and(|page| page.values.is_none()) {
            self.pages.pop();
        }
    }

    /// All values, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages
            .iter()
            .flat_map(|page| page.values.iter().flat_map(|values| values.iter().flatten()))
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: u32) -> &T {
        let page = &self.pages[place as usize / PAGE];
        page.values()[place as usize % PAGE].as_ref().expect("a live place")
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut T {
        let page = &mut self.pages[place as usize / PAGE];
        page.values_mut()[place as usize % PAGE].as_mut().expect("a live place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places stay unique and keep their values, and pages are kept only where values are.
    #[test]
    fn places_are_stable_and_memory_follows_the_values() {
        for step in [1, 7, 63, 65, 511, 1023] {
            let mut arena = Arena::new();
            for round in 0..3 {
                let places: Vec<u32> = (0..1024).map(|i| arena.insert(i)).collect();
                for i in 0..1024 {
                    assert_eq!(arena[places[i]], i, "step {step}, round {round}");
                }
                // An odd step visits every place once, in an order of its own.
                for i in (0..1024).map(|i| i * step % 1024) {
                    assert_eq!(arena.remove(places[i]), i);
                }
                assert_eq!(arena.iter().count(), 0);
                let kept = arena.pages.iter().filter(|page| page.values.is_some()).count();
                assert!(kept <= 1, "step {step}, round {round}: {kept} pages kept");
                assert!(arena.open.len() <= 1024 / PAGE);
            }
        }
    }
}
