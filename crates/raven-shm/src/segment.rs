//! The writer's side: a file that rings are made in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raven_core::hub::{Lender, TopicKey};
use raven_core::ring::Word;
use raven_core::storage::{Lent, Owner};
use rustix::fd::OwnedFd;
use rustix::fs::{fallocate, ftruncate, FallocateFlags};

use crate::claim;
use crate::error::ShmError;
use crate::layout::{
    entry, entry_words, header, state_word, write_entry, Entry, BYTE_ORDER, CLOSED, EMPTY, ENDED, ENTRIES, LIVE, MAGIC,
    OPEN, PAGE, RINGS_AT, SYMBOL_BYTES, VENUE_BYTES, VERSION,
};
use crate::mapping::map_for_ever;

/// A file in shared memory that this process writes. The name goes when it is closed or dropped; readers keep what they
/// have mapped and are told that nobody writes it any more.
#[derive(Debug)]
pub struct Segment {
    inner: Arc<Inner>,
}

/// How much is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rings in it.
    pub topics: u64,
    /// Bytes of memory that it takes now.
    pub bytes: u64,
    /// Rings that did not get in, so far.
    pub refused: u64,
    /// Why the last of them did not; empty when all did.
    pub trouble: String,
}

#[derive(Debug)]
struct Inner {
    file: OwnedFd,
    path: PathBuf,
    words: &'static [Word],
    space: Mutex<Space>,
}

/// Who writes: whoever makes or drops a topic, one at a time.
#[derive(Debug, Default)]
struct Space {
    is_closed: bool,
    /// Where unused bytes begin.
    end: usize,
    /// Given back, by size: rings come in few sizes.
    free: BTreeMap<usize, Vec<usize>>,
    entries: usize,
    free_entries: Vec<usize>,
    usage: Usage,
}

impl Segment {
    /// Make the file of this name; its rings may take up to `bytes`, which they take as they come. What a dead writer
    /// left under the name is cleaned first.
    ///
    /// # Errors
    /// [`ShmError::InUse`] when a living process writes it, and what else [`ShmError`] lists.
    pub fn create(name: &str, bytes: usize, now_ns: i64) -> Result<Self, ShmError> {
        let path = claim::path_of(name)?;
        let bytes = bytes.next_multiple_of(PAGE);
        if bytes <= RINGS_AT {
            return Err(ShmError::TooSmall { bytes, least: RINGS_AT });
        }
        let file = claim::nameless(&path)?;
        ftruncate(&file, bytes as u64).map_err(ShmError::io("size", &path))?;
        let reserved = fallocate(&file, FallocateFlags::empty(), 0, RINGS_AT as u64);
        reserved.map_err(ShmError::io("reserve memory for", &path))?;
        let words = map_for_ever(&file, bytes).map_err(ShmError::io("map", &path))?;
        let pid = u64::from(std::process::id());
        for (at, value) in [
            (header::VERSION, VERSION),
            (header::BYTE_ORDER, BYTE_ORDER),
            (header::BYTES, bytes as u64),
            (header::STATE, OPEN),
            (header::PID, pid),
            (header::STARTED, claim::started(pid).unwrap_or(0)),
            (header::CREATED_NS, now_ns as u64),
            (header::HEARTBEAT_NS, now_ns as u64),
            (header::DIRECTORY, PAGE as u64),
            (header::ENTRIES, ENTRIES as u64),
            (header::MAGIC, MAGIC),
        ] {
            words[at].store(value, Ordering::Release);
        }
        claim::link(&file, &path)?;
        let usage = Usage { bytes: RINGS_AT as u64, ..Usage::default() };
        let space = Mutex::new(Space { end: RINGS_AT, usage, ..Space::default() });
        Ok(Self { inner: Arc::new(Inner { file, path, words, space }) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Say that this process runs.
    pub fn beat(&self, now_ns: i64) {
        self.inner.header(header::HEARTBEAT_NS).store(now_ns as u64, Ordering::Relaxed);
    }

    /// How much is in it.
    pub fn usage(&self) -> Usage {
        self.inner.space().usage.clone()
    }

    /// Say goodbye: the name goes, readers are told. Rings that are in it live on for this process. Once is enough.
    pub fn close(&self) {
        let mut space = self.inner.space();
        if !space.is_closed {
            space.is_closed = true;
            self.inner.header(header::STATE).store(CLOSED, Ordering::Release);
            claim::unlink_own(&self.inner.file, &self.inner.path);
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lender for Segment {
    fn lend(&self, key: &TopicKey, words: usize) -> Option<Lent> {
        let bytes = (8 * words).next_multiple_of(PAGE);
        let mut space = self.inner.space();
        let place = self.inner.place(&mut space, key, bytes);
        match place {
            Ok((index, offset)) => {
                space.usage.topics += 1;
                space.usage.bytes += bytes as u64;
                drop(space);
                let region = Region { inner: Arc::clone(&self.inner), index, offset, bytes, words, key: key.clone() };
                Some(Lent::new(&self.inner.words[offset / 8..offset / 8 + words], Box::new(region)))
            }
            Err(trouble) => {
                space.usage.refused += 1;
                space.usage.trouble = trouble;
                None
            }
        }
    }
}

impl Inner {
    /// A free entry and reserved memory, or why there is none.
    fn place(&self, space: &mut Space, key: &TopicKey, bytes: usize) -> Result<(usize, usize), String> {
        if space.is_closed {
            return Err("it is closed".into());
        }
        if key.venue.len() > VENUE_BYTES || key.symbol.len() > SYMBOL_BYTES {
            return Err(format!("{} {} is longer than {VENUE_BYTES} and {SYMBOL_BYTES} bytes", key.venue, key.symbol));
        }
        if space.free_entries.is_empty() && space.entries == ENTRIES {
            return Err(format!("its directory is full: {ENTRIES} topics"));
        }
        let given_back = space.free.get_mut(&bytes).and_then(Vec::pop);
        let offset = given_back.unwrap_or(space.end);
        if given_back.is_none() && offset + bytes > 8 * self.words.len() {
            return Err(format!("its {} bytes are taken; give it more with shm.size_mb", 8 * self.words.len()));
        }
        if let Err(errno) = fallocate(&self.file, FallocateFlags::empty(), offset as u64, bytes as u64) {
            if given_back.is_some() {
                space.free.entry(bytes).or_default().push(offset);
            }
            return Err(format!("the system has no memory for it: {errno} (is /dev/shm full?)"));
        }
        if given_back.is_none() {
            space.end += bytes;
        }
        let index = space.free_entries.pop().unwrap_or_else(|| {
            space.entries += 1;
            space.entries - 1
        });
        Ok((index, offset))
    }

    fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(&self, at: usize) -> &AtomicU64 {
        &self.words[at]
    }

    fn note_change(&self, used: usize) {
        self.header(header::USED).store(used as u64, Ordering::Release);
        self.header(header::CHANGES).fetch_add(1, Ordering::Release);
    }
}

/// The memory of one ring, and its entry in the directory.
#[derive(Debug)]
struct Region {
    inner: Arc<Inner>,
    index: usize,
    offset: usize,
    bytes: usize,
    words: usize,
    key: TopicKey,
}

impl Region {
    fn entry(&self, state: u32) -> Entry {
        Entry {
            generation: 0,
            state,
            data_type: self.key.data_type,
            depth: self.key.depth,
            offset: self.offset,
            bytes: 8 * self.words,
            venue: self.key.venue.to_string(),
            symbol: self.key.symbol.to_string(),
        }
    }
}

impl Owner for Region {
    fn announce(&self) {
        let space = self.inner.space();
        write_entry(entry_words(self.inner.words, self.index), &self.entry(LIVE));
        self.inner.note_change(space.entries);
    }

    fn end(&self) {
        let space = self.inner.space();
        let state = &entry_words(self.inner.words, self.index)[entry::STATE];
        state.store(state_word(ENDED, self.key.data_type), Ordering::Release);
        self.inner.note_change(space.entries);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let mut space = self.inner.space();
        // From here on a reader that still looks is told that the topic is gone, whatever it finds in the ring.
        write_entry(entry_words(self.inner.words, self.index), &self.entry(EMPTY));
        self.inner.note_change(space.entries);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // The memory goes back to the system; where that fails it stays reserved for the next ring of this size.
        let _ = fallocate(&self.inner.file, hole, self.offset as u64, self.bytes as u64);
        space.free.entry(self.bytes).or_default().push(self.offset);
        space.free_entries.push(self.index);
        space.usage.topics -= 1;
        space.usage.bytes -= self.bytes as u64;
    }
}
