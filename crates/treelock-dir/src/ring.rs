//! The ring of events: a file beside the table, which exists while somebody has ever listened.
//!
//! ```text
//! header 4096 │ 4096 slots of 256 bytes:  tag 8 │ checksum 8 │ message 240
//! ```
//!
//! Who has something to tell takes the next slots, by one addition to the head, writes them, and
//! publishes each by its tag: the number of the ring plus that of the slot plus one. The ring has a
//! new number whenever it is begun anew, so what is left of an earlier one is never read. A slot
//! that is overwritten while it is read, or written by two who are a whole round apart, has a
//! checksum that does not match.
//!
//! # Sleeping
//!
//! The bell is odd while somebody may sleep on it. Who sleeps makes it odd, and then looks at the
//! head once more. Who tells something moves the head, publishes, and then makes the bell even and
//! wakes all who sleep. So telling needs no system call while all listeners are busy.

use std::{
    fs::{File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::ErrorKind,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
    time::Instant,
};

use crate::{
    error::{Doing, Error},
    file,
    format::layout::{CANARY, PAGE_BYTES},
    futex::{self, ANY},
    kernel,
    map::Map,
};

/// The name of the ring in the directory of its table.
const NAME: &str = "events";
const MAGIC: [u8; 16] = *b"treelock events1";

/// How many slots there are.
pub(crate) const SLOTS: u64 = 4096;
const SLOT_WORDS: usize = 32;
const MESSAGE_WORDS: usize = SLOT_WORDS - 2;
const BYTES: usize = PAGE_BYTES + SLOTS as usize * SLOT_WORDS * 8;

/// A message takes at most this many slots, so that one request cannot push all others out. The
/// payload of a longer one is read from the table.
const MESSAGE_SLOTS_MAX: usize = 256;
/// The words of a message before its payload.
const HEAD_WORDS: usize = 5;
const PAYLOAD_BYTES_MAX: usize = (MESSAGE_SLOTS_MAX * MESSAGE_WORDS - HEAD_WORDS) * 8;

// Places in the header, in numbers of 64 bits.
const NUMBER: usize = 2;
const HEAD: usize = 8;
const CANARY_AT: usize = PAGE_BYTES / 8 - 1;
/// In numbers of 32 bits.
const BELL: usize = 16 * 2;

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Asked,
    Left,
}

/// What is told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) ticket: u64,
    pub(crate) cell: usize,
    pub(crate) pid: u32,
    /// When it happened, in nanoseconds since boot.
    pub(crate) at: u64,
    /// The request, if it was made. `None` if it is too long to be told.
    pub(crate) payload: Option<Vec<u8>>,
}

/// What is at a place of the ring.
pub(crate) enum Found {
    /// A message, and where the next one is.
    Message(Message, u64),
    /// Nothing has been told since.
    Nothing,
    /// Somebody has taken the place, and is writing there, or has died.
    Unfinished,
    /// The listener was too slow.
    Overrun,
}

/// The ring of events, mapped into memory.
pub(crate) struct Ring {
    number: u64,
    map: Map,
}

impl Ring {
    /// Opens the ring with this number in the directory of a table, if it is there and whole.
    pub(crate) fn open(directory: &Path, number: u64) -> Option<Ring> {
        let path = directory.join(NAME);
        let file = file::open(&path, OpenOptions::new().read(true).write(true)).ok()?;
        let (_, size) = kernel::identify_open(&file).ok()?;
        if size < BYTES as u64 {
            return None;
        }
        let ring = Ring { number, map: Map::new(&file, 0, BYTES, true).ok()? };
        ring.is_whole().then_some(ring)
    }

    /// Begins a ring that nobody listens to yet. The table's gate must be locked.
    pub(crate) fn begin(directory: &Path) -> Result<Ring, Error> {
        let path = directory.join(NAME);
        let file = open_or_make(&path)?;
        let mut start = [0; MAGIC.len()];
        let length = file.read_at(&mut start, 0).doing("read", &path)?;
        // One that was cut short, or only begun, is no loss.
        if !MAGIC.starts_with(&start[..length]) {
            let what = "it does not begin like the events of a lock".into();
            return Err(Error::Foreign { path, what });
        }
        // Whoever uses the table must be able to tell what it does.
        file::share(&file, directory);
        file::reserve(&file, 0, BYTES as u64).doing("make room for events in", &path)?;
        let map = Map::new(&file, 0, BYTES, true).doing("map into memory", &path)?;
        let number = RandomState::new().build_hasher().finish() | 1;
        let words = map.words();
        for (at, value) in
            [(HEAD, 0), (NUMBER, number), (CANARY_AT, CANARY)].into_iter().chain(magic_words())
        {
            words[at].store(value, Ordering::SeqCst);
        }
        Ok(Ring { number, map })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the file was neither cut nor overwritten, as far as its header tells.
    pub(crate) fn is_whole(&self) -> bool {
        let get = |at: usize| self.map.words()[at].load(Ordering::Relaxed);
        magic_words().into_iter().all(|(at, word)| get(at) == word)
            && get(NUMBER) == self.number
            && get(CANARY_AT) == CANARY
            && !self.map.is_broken()
    }

    fn head_word(&self) -> &AtomicU64 {
        &self.map.words()[HEAD]
    }

    /// Returns the place of the next message.
    pub(crate) fn head(&self) -> u64 {
        self.head_word().load(Ordering::SeqCst)
    }

    fn bell(&self) -> &AtomicU32 {
        &self.map.halves()[BELL]
    }

    fn tag(&self, place: u64) -> u64 {
        self.number.wrapping_add(place).wrapping_add(1)
    }

    fn slot(&self, place: u64) -> &[AtomicU64] {
        let start = PAGE_BYTES / 8 + (place % SLOTS) as usize * SLOT_WORDS;
        &self.map.words()[start..start + SLOT_WORDS]
    }

    /// Tells all listeners something. Returns its places. Never blocks.
    pub(crate) fn tell(&self, message: &Message) -> Range<u64> {
        let words = message.to_words();
        let slots = words.chunks(MESSAGE_WORDS);
        let count = slots.len() as u64;
        let place = self.head_word().fetch_add(count, Ordering::SeqCst);
        for (number, words) in slots.enumerate() {
            self.write(place.wrapping_add(number as u64), words);
        }
        let seen = self.bell().load(Ordering::SeqCst);
        // Who changes it instead has woken them, or is about to sleep and will look first.
        if seen % 2 == 1 {
            let even = seen.wrapping_add(1);
            let bell = self.bell();
            if bell.compare_exchange(seen, even, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                futex::wake_all(bell, ANY);
            }
        }
        place..place.wrapping_add(count)
    }

    fn write(&self, place: u64, words: &[u64]) {
        let slot = self.slot(place);
        let mut message = [0; MESSAGE_WORDS];
        message[..words.len()].copy_from_slice(words);
        for (word, value) in slot[2..].iter().zip(message) {
            word.store(value, Ordering::Relaxed);
        }
        let tag = self.tag(place);
        slot[1].store(checksum(tag, &message), Ordering::Relaxed);
        slot[0].store(tag, Ordering::Release);
    }

    /// Returns what is written at a place, if it is whole.
    fn read_slot(&self, place: u64) -> Option<[u64; MESSAGE_WORDS]> {
        let slot = self.slot(place);
        let tag = self.tag(place);
        if slot[0].load(Ordering::Acquire) != tag {
            return None;
        }
        let mut message = [0; MESSAGE_WORDS];
        for (value, word) in message.iter_mut().zip(&slot[2..]) {
            *value = word.load(Ordering::Relaxed);
        }
        let sum = slot[1].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_still = slot[0].load(Ordering::Relaxed) == tag;
        (is_still && sum == checksum(tag, &message)).then_some(message)
    }

    /// Returns what is at a place.
    pub(crate) fn read(&self, place: u64) -> Found {
        let told = match self.head().checked_sub(place) {
            Some(0) => return Found::Nothing,
            Some(told) if told <= SLOTS => told,
            _ => return Found::Overrun,
        };
        match self.message(place, told) {
            Some((message, next)) => Found::Message(message, next),
            None if self.head().wrapping_sub(place) > SLOTS => Found::Overrun,
            None => Found::Unfinished,
        }
    }

    fn message(&self, place: u64, told: u64) -> Option<(Message, u64)> {
        let mut words = self.read_slot(place)?.to_vec();
        let slots = words_of(words[4] as usize).div_ceil(MESSAGE_WORDS) as u64;
        if slots > told {
            return None;
        }
        for further in 1..slots {
            words.extend(self.read_slot(place + further)?);
        }
        Some((Message::from_words(&words)?, place + slots))
    }

    /// Sleeps until something is told behind a place, `is_over`, or it is `until`.
    pub(crate) fn sleep(&self, place: u64, until: Instant, is_over: impl Fn() -> bool) {
        let bell = self.bell();
        let seen = bell.fetch_or(1, Ordering::SeqCst) | 1;
        if self.head() == place && !is_over() {
            futex::wait(bell, seen, ANY, Some(until));
        }
    }

    /// Wakes all who sleep.
    pub(crate) fn wake(&self) {
        self.bell().fetch_add(2, Ordering::SeqCst);
        futex::wake_all(self.bell(), ANY);
    }
}

impl Message {
    fn to_words(&self) -> Vec<u64> {
        let kind = match (self.kind, &self.payload) {
            (Kind::Left, _) => 0,
            (Kind::Asked, Some(payload)) if payload.len() <= PAYLOAD_BYTES_MAX => 1,
            (Kind::Asked, _) => 2,
        };
        let payload = self.payload.as_deref().filter(|_| kind == 1).unwrap_or_default();
        let mut words = Vec::with_capacity(words_of(payload.len()));
        words.extend([kind | u64::from(self.pid) << 32, self.ticket, self.at]);
        words.extend([self.cell as u64, payload.len() as u64]);
        words.extend(payload.chunks(8).map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        }));
        words
    }

    fn from_words(words: &[u64]) -> Option<Message> {
        let [kind, ticket, at, cell, length, payload @ ..] = words else { return None };
        let (kind, has_payload) = match *kind as u32 {
            0 => (Kind::Left, false),
            1 => (Kind::Asked, true),
            2 => (Kind::Asked, false),
            _ => return None,
        };
        let mut bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.truncate(*length as usize);
        let payload = has_payload.then_some(bytes);
        let pid = (words[0] >> 32) as u32;
        Some(Message { kind, ticket: *ticket, cell: *cell as usize, pid, at: *at, payload })
    }
}

/// Returns how many words a message has whose payload is this long.
fn words_of(payload: usize) -> usize {
    HEAD_WORDS + payload.min(PAYLOAD_BYTES_MAX).div_ceil(8)
}

fn magic_words() -> [(usize, u64); 2] {
    let word = |at: usize| u64::from_ne_bytes(*MAGIC[at..].first_chunk().expect("16 bytes"));
    [(0, word(0)), (1, word(8))]
}

fn checksum(tag: u64, words: &[u64]) -> u64 {
    let mix =
        |sum: u64, word: &u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    words.iter().fold(tag, mix)
}

fn open_or_make(path: &Path) -> Result<File, Error> {
    match file::open(path, OpenOptions::new().read(true).write(true)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        file => return file,
    }
    let mut new = OpenOptions::new();
    new.read(true).write(true).create_new(true).mode(0o600);
    new.open(path).doing("create", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ticket: u64, payload: Option<Vec<u8>>) -> Message {
        Message { kind: Kind::Asked, ticket, cell: 3, pid: 4, at: 5, payload }
    }

    #[test]
    fn what_is_told_is_read_by_all() {
        let folder = tempfile::tempdir().expect("a place for temporary files");
        let ring = Ring::begin(folder.path()).expect("an empty directory");
        let other = Ring::open(folder.path(), ring.number()).expect("it was begun");
        assert!(Ring::open(folder.path(), ring.number() ^ 2).is_none());
        let mut place = 0;
        for length in [0, 1, 8, 199, 200, 201, 5000, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1] {
            let told = message(7, Some((0..length).map(|byte| byte as u8).collect()));
            assert_eq!(other.tell(&told).start, place);
            let Found::Message(read, next) = ring.read(place) else { panic!("{length}") };
            let whole = length <= PAYLOAD_BYTES_MAX;
            assert_eq!(read, Message { payload: told.payload.filter(|_| whole), ..told });
            place = next;
        }
        let left = Message { kind: Kind::Left, ..message(7, None) };
        ring.tell(&left);
        assert!(matches!(ring.read(place), Found::Message(read, _) if read == left));
        assert!(matches!(ring.read(place + 1), Found::Nothing));
    }

    #[test]
    fn who_is_too_slow_or_finds_a_gap_notices() {
        let folder = tempfile::tempdir().expect("a place for temporary files");
        let ring = Ring::begin(folder.path()).expect("an empty directory");
        for ticket in 0..=SLOTS {
            ring.tell(&message(ticket, None));
        }
        assert!(matches!(ring.read(0), Found::Overrun));
        let Found::Message(read, next) = ring.read(1) else { panic!("it is still there") };
        assert_eq!((read.ticket, next), (1, 2));
        let gap = ring.head_word().fetch_add(1, Ordering::SeqCst);
        assert!(matches!(ring.read(gap), Found::Unfinished));
        // What was left of an earlier round, or of an earlier ring, is not read.
        ring.slot(2)[5].store(1 << 40, Ordering::Relaxed);
        assert!(matches!(ring.read(2), Found::Unfinished));
        let again = Ring::begin(folder.path()).expect("our own file");
        assert!(!ring.is_whole() && again.is_whole());
        again.head_word().store(9, Ordering::SeqCst);
        assert!(matches!(again.read(3), Found::Unfinished));
    }

    #[test]
    fn foreign_files_stay() {
        let folder = tempfile::tempdir().expect("a place for temporary files");
        let path = folder.path().join(NAME);
        std::fs::write(&path, "notes").expect("a writable directory");
        assert!(matches!(Ring::begin(folder.path()), Err(Error::Foreign { .. })));
        assert_eq!(std::fs::read(&path).expect("a file"), b"notes");
        std::fs::write(&path, &MAGIC[..5]).expect("a writable directory");
        assert!(Ring::begin(folder.path()).expect("one that was cut").is_whole());
    }
}
