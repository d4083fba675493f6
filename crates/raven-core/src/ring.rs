//! A log of records that one thread appends to and any number of threads read, each at its own pace.
//!
//! Who writes: the one [`RingWriter`]. Who reads: everyone with a [`Cursor`]; readers write nothing, so a
//! thousand of them cost the writer what none costs. What orders them:
//!
//! 1. the writer stores the *intent* (how far it is about to write), then a release fence, then the words;
//! 2. it publishes by storing `latest`, `sequence` and last of all `tail` with release;
//! 3. a reader loads `tail` and then fences with acquire, copies words relaxed, then an acquire fence, then loads the intent.
//!    A word of a later write can only have been seen if that write's intent is seen too; in that case the
//!    copy is thrown away and the reader is told how many records it lost.
//!
//! Forbidden outcomes; `tests/loom_ring.rs` looks for them in every interleaving of small cases, `tests/ring.rs`
//! with real threads:
//!
//! | outcome | why it cannot happen |
//! |---|---|
//! | a record with words of two publications | rule 3 |
//! | a record twice, or out of order | the cursor only moves forward, by whole records |
//! | a record skipped in silence | every record carries its sequence; a jump is `Lapped` with the difference |
//! | a wrong count after a lap | the count is the difference of two sequences, never an estimate |
//! | a writer that waits | it loads nothing that a reader stores |
//!
//! All state lives in the words themselves, control words first, so the same code works on a heap buffer and
//! on a mapped file. Positions count words from the beginning of time and never wrap; records wrap around the
//! end of the buffer word by word, so no padding is needed. Every sixteenth of the ring has a *mark*: where the
//! first record in it starts. A lapped reader resumes at a mark instead of losing everything up to the newest.

use std::sync::Arc;

#[cfg(loom)]
use loom::{
    hint::spin_loop,
    sync::atomic::{fence, AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::{
    hint::spin_loop,
    sync::atomic::{fence, AtomicU64, Ordering},
};

use crate::record::{Header, HEADER_WORDS};
use crate::storage::Storage;

/// One word of a ring's storage.
pub type Word = AtomicU64;

/// Words in front of the records: counters and marks, each group on a cache line of its own.
pub const CONTROL_WORDS: usize = 48;

/// First word of every ring: "RAVNRNG" and the version of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"RAVNRNG\x01");
const MAGIC_AT: usize = 0;
const CAPACITY_AT: usize = 1;
const INTENT_AT: usize = 8;
const TAIL_AT: usize = 16;
const LATEST_AT: usize = 17;
const SEQUENCE_AT: usize = 18;
const FIRST_AT: usize = 19;
const MARKS_AT: usize = 24;
const MARKS: u64 = 16;

/// Smallest ring: room for two of the smallest records.
const MIN_CAPACITY: usize = 16;
/// A mark that was never set; no position gets there.
const NO_MARK: u64 = u64::MAX;

/// The shared side of a ring: what readers need.
#[derive(Debug)]
pub struct Ring<S = Storage> {
    storage: S,
    capacity: u64,
}

/// The one producer of a ring.
#[derive(Debug)]
pub struct RingWriter<S = Storage> {
    ring: Arc<Ring<S>>,
    tail: u64,
    sequence: u64,
    segment: u64,
}

/// Where a reader stands: a position and the sequence that it expects there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    position: u64,
    next: u64,
}

impl Cursor {
    /// The sequence that the next read returns if nothing is lost.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }
}

/// What one read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing new.
    Empty,
    /// One record; `out` holds its header and body words.
    Record,
    /// The writer overtook this reader; the cursor now stands on the oldest record that is safe to read.
    Lapped {
        /// Records that were overwritten before they could be read, exactly.
        lost: u64,
    },
}

/// The storage is not a ring of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARing;

impl std::fmt::Display for NotARing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the storage holds no ring of this version; create it with the same release of Raven that reads it")
    }
}

impl std::error::Error for NotARing {}

/// Words of storage for a ring of `capacity_words`, which is rounded up to a power of two.
pub fn storage_words(capacity_words: usize) -> usize {
    CONTROL_WORDS + capacity_words.next_power_of_two().max(MIN_CAPACITY)
}

/// Load, and let nothing that follows happen before. A plain load and a fence, because only plain loads are sure to
/// work on memory that is mapped for reading only.
#[inline(always)]
fn load_acquire(word: &Word) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// Make a ring on the heap; `capacity_words` is rounded up to a power of two.
pub fn ring(capacity_words: usize) -> (RingWriter, Arc<Ring>) {
    let words: Box<[Word]> = (0..storage_words(capacity_words)).map(|_| Word::new(0)).collect();
    ring_in(Storage::Heap(words))
}

/// Make a ring in storage that is already there, of a size that [`storage_words`] gives.
///
/// # Panics
/// If the storage has no room for the smallest ring, or a part of it would be unused.
pub fn ring_in<S: AsRef<[Word]>>(storage: S) -> (RingWriter<S>, Arc<Ring<S>>) {
    let words = storage.as_ref();
    let capacity = words.len().saturating_sub(CONTROL_WORDS);
    assert!(capacity >= MIN_CAPACITY && capacity.is_power_of_two(), "ring storage of {} words", words.len());
    for at in [INTENT_AT, TAIL_AT, LATEST_AT, SEQUENCE_AT, FIRST_AT] {
        words[at].store(0, Ordering::Relaxed);
    }
    for mark in &words[MARKS_AT..MARKS_AT + MARKS as usize] {
        mark.store(NO_MARK, Ordering::Relaxed);
    }
    words[CAPACITY_AT].store(capacity as u64, Ordering::Relaxed);
    words[MAGIC_AT].store(MAGIC, Ordering::Release);
    let ring = Arc::new(Ring { storage, capacity: capacity as u64 });
    (RingWriter { ring: Arc::clone(&ring), tail: 0, sequence: 0, segment: NO_MARK }, ring)
}

impl<S: AsRef<[Word]>> RingWriter<S> {
    /// Append one record and return its sequence, from 1.
    ///
    /// # Panics
    /// If header and body are longer than [`Ring::max_record_words`]; the ring was made too small for its kind.
    pub fn publish(&mut self, header: &Header, body: &[u64]) -> u64 {
        let total = HEADER_WORDS + body.len();
        let ring = &*self.ring;
        assert!(total <= ring.max_record_words(), "a record of {total} words in a ring of {} words", ring.capacity);
        let sequence = self.sequence + 1;
        let mut head = header.to_words(total);
        head[1] = sequence;

        let start = self.tail;
        let end = start + total as u64;
        ring.control(INTENT_AT).store(end, Ordering::Relaxed);
        // Whoever sees one of the words below also sees the intent above.
        fence(Ordering::Release);
        ring.store(start, &head);
        ring.store(start + HEADER_WORDS as u64, body);
        let segment = start / ring.segment_words();
        if segment != self.segment {
            self.segment = segment;
            ring.control(MARKS_AT + (segment % MARKS) as usize).store(start, Ordering::Relaxed);
        }
        if sequence == 1 {
            ring.control(FIRST_AT).store(header.recv_ns as u64, Ordering::Relaxed);
        }
        ring.control(LATEST_AT).store(start, Ordering::Release);
        ring.control(SEQUENCE_AT).store(sequence, Ordering::Release);
        ring.control(TAIL_AT).store(end, Ordering::Release);

        self.tail = end;
        self.sequence = sequence;
        sequence
    }

    /// The ring that this writer fills.
    pub fn ring(&self) -> &Arc<Ring<S>> {
        &self.ring
    }
}

impl<S: AsRef<[Word]>> Ring<S> {
    /// Read a ring that another process made.
    ///
    /// # Errors
    /// [`NotARing`] when the words do not start with a ring's control words, or are shorter than they say.
    pub fn open(storage: S) -> Result<Arc<Self>, NotARing> {
        let words = storage.as_ref();
        if words.len() < CONTROL_WORDS + MIN_CAPACITY || load_acquire(&words[MAGIC_AT]) != MAGIC {
            return Err(NotARing);
        }
        let capacity = words[CAPACITY_AT].load(Ordering::Relaxed);
        if !capacity.is_power_of_two() || words.len() as u64 != CONTROL_WORDS as u64 + capacity {
            return Err(NotARing);
        }
        Ok(Arc::new(Self { storage, capacity }))
    }

    /// Where the words are.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Words that records may occupy; older ones are overwritten.
    pub fn capacity_words(&self) -> usize {
        self.capacity as usize
    }

    /// Longest record: half the ring, so that the newest one stays readable while the next is being written.
    pub fn max_record_words(&self) -> usize {
        self.capacity as usize / 2
    }

    /// Sequence of the newest record, 0 when there is none.
    pub fn head_sequence(&self) -> u64 {
        load_acquire(self.control(SEQUENCE_AT))
    }

    /// Receive time of the very first record, ns: when this life of the topic began. `None` when there is no record.
    pub fn first_recv_ns(&self) -> Option<i64> {
        let is_begun = load_acquire(self.control(TAIL_AT)) > 0;
        is_begun.then(|| self.control(FIRST_AT).load(Ordering::Relaxed) as i64)
    }

    /// A cursor behind the newest record: the next read returns what is published from now on.
    pub fn cursor_at_end(&self) -> Cursor {
        let (latest, words) = self.latest();
        Cursor { position: latest.position + words, next: latest.next + u64::from(words > 0) }
    }

    /// A cursor on the newest record; at the beginning when there is none.
    pub fn cursor_at_latest(&self) -> Cursor {
        self.latest().0
    }

    /// A cursor before the very first record: what was overwritten already is a lap.
    pub fn cursor_at_start(&self) -> Cursor {
        Cursor { position: 0, next: 1 }
    }

    /// Records between the cursor and the newest one.
    pub fn lag(&self, cursor: &Cursor) -> u64 {
        (self.head_sequence() + 1).saturating_sub(cursor.next)
    }

    /// Copy the record at the cursor into `out` (which is cleared) and move on, or say why there is none.
    pub fn read(&self, cursor: &mut Cursor, out: &mut Vec<u64>) -> Read {
        out.clear();
        let tail = load_acquire(self.control(TAIL_AT));
        if cursor.position >= tail {
            return Read::Empty;
        }
        let words = Header::total_words(self.word(cursor.position)) as u64;
        // Any other length is a word of a later record.
        let longest = (tail - cursor.position).min(self.max_record_words() as u64);
        if (HEADER_WORDS as u64..=longest).contains(&words) {
            self.copy(cursor.position, words, out);
            if self.is_intact(cursor.position) {
                debug_assert_eq!(out[1], cursor.next, "records are read one by one");
                cursor.position += words;
                cursor.next += 1;
                return Read::Record;
            }
            out.clear();
        }
        self.resume(cursor)
    }

    /// Append the records from the cursor on to `out`, as many as there are in at most about `most_words`, and move on;
    /// [`Read::Record`]: at least one. One look at the writer for all of them, so it is the way to read much.
    pub fn read_run(&self, cursor: &mut Cursor, most_words: usize, out: &mut Vec<u64>) -> Read {
        let tail = load_acquire(self.control(TAIL_AT));
        if cursor.position >= tail {
            return Read::Empty;
        }
        let before = out.len();
        // A quarter of the ring is what `resume` leaves between a lapped reader and the writer.
        let first = Header::total_words(self.word(cursor.position)) as u64;
        let longest = (tail - cursor.position).min(self.max_record_words() as u64);
        let words = (most_words as u64).min(self.capacity / 4).max(first).min(longest);
        self.copy(cursor.position, words, out);
        if !self.is_intact(cursor.position) {
            out.truncate(before);
            return self.resume(cursor);
        }
        let (mut end, mut records) = (before, 0);
        while let Some(word) = out.get(end) {
            let next = end + Header::total_words(*word).max(HEADER_WORDS);
            if next > out.len() {
                break;
            }
            (end, records) = (next, records + 1);
        }
        out.truncate(end);
        cursor.position += (end - before) as u64;
        cursor.next += records;
        Read::Record
    }

    /// Move a lapped cursor to the oldest mark that leaves the reader a quarter of the ring to catch up.
    #[cold]
    fn resume(&self, cursor: &mut Cursor) -> Read {
        loop {
            let tail = load_acquire(self.control(TAIL_AT));
            let intent = self.control(INTENT_AT).load(Ordering::Relaxed);
            let oldest_safe = intent.saturating_sub(self.capacity - self.capacity / 4).max(cursor.position);
            let mark = (0..MARKS)
                .map(|index| self.control(MARKS_AT + index as usize).load(Ordering::Relaxed))
                .filter(|mark| (oldest_safe..tail).contains(mark))
                .min();
            let position = mark.unwrap_or_else(|| load_acquire(self.control(LATEST_AT)));
            let sequence = self.word(position + 1);
            if self.is_intact(position) {
                let lost = sequence.wrapping_sub(cursor.next);
                *cursor = Cursor { position, next: sequence };
                return Read::Lapped { lost };
            }
            // Only a writer that has moved on meanwhile leads here, so this is never a wait for it.
            spin_loop();
        }
    }

    /// Cursor on the newest record and that record's length; length 0 when there is none.
    fn latest(&self) -> (Cursor, u64) {
        loop {
            if load_acquire(self.control(TAIL_AT)) == 0 {
                return (Cursor { position: 0, next: 1 }, 0);
            }
            let position = load_acquire(self.control(LATEST_AT));
            let words = Header::total_words(self.word(position)) as u64;
            let sequence = self.word(position + 1);
            if self.is_intact(position) {
                return (Cursor { position, next: sequence }, words);
            }
            spin_loop();
        }
    }

    /// Whether nothing from `position` on was overwritten before the loads that precede this call.
    fn is_intact(&self, position: u64) -> bool {
        fence(Ordering::Acquire);
        self.control(INTENT_AT).load(Ordering::Relaxed) <= position + self.capacity
    }

    fn segment_words(&self) -> u64 {
        self.capacity / MARKS
    }

    fn control(&self, at: usize) -> &Word {
        &self.storage.as_ref()[at]
    }

    fn records(&self) -> &[Word] {
        &self.storage.as_ref()[CONTROL_WORDS..]
    }

    fn word(&self, position: u64) -> u64 {
        self.records()[(position & (self.capacity - 1)) as usize].load(Ordering::Relaxed)
    }

    /// The two runs of words that `count` words from `position` occupy: up to the end of the buffer, and from its start.
    fn runs(&self, position: u64, count: usize) -> (&[Word], &[Word]) {
        let (front, back) = self.records().split_at((position & (self.capacity - 1)) as usize);
        match back.get(..count) {
            Some(run) => (run, &[]),
            None => (back, &front[..count - back.len()]),
        }
    }

    fn store(&self, position: u64, values: &[u64]) {
        let (first, second) = self.runs(position, values.len());
        let (head, rest) = values.split_at(first.len());
        for (word, value) in first.iter().zip(head) {
            word.store(*value, Ordering::Relaxed);
        }
        for (word, value) in second.iter().zip(rest) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    fn copy(&self, position: u64, count: u64, out: &mut Vec<u64>) {
        let (first, second) = self.runs(position, count as usize);
        out.extend(first.iter().map(|word| word.load(Ordering::Relaxed)));
        out.extend(second.iter().map(|word| word.load(Ordering::Relaxed)));
    }
}
