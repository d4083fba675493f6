//! The other side: other processes' rings, for reading only.

use std::path::{Path, PathBuf};
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;

use raven_core::record::data_type;
use raven_core::ring::{Cursor, Read, Ring};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;

use crate::claim;
use crate::error::ShmError;
use crate::layout::{
    entry, entry_words, header, read_entry, Entry, BYTE_ORDER, CLOSED, EMPTY, ENTRIES, ENTRY_WORDS, LIVE, PAGE, VERSION,
};
use crate::mapping::{ReadMapping, Window};

/// A file of shared memory that another process writes.
#[derive(Debug)]
pub struct Reader {
    file: OwnedFd,
    path: PathBuf,
    mapping: Arc<ReadMapping>,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what is published from now on.
    Now,
    /// With the newest record there is.
    Latest,
    /// With the oldest that the ring still has.
    Oldest,
}

/// What one look at a topic found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Empty,
    /// At least one record.
    Record,
    /// The writer overtook this reader.
    Lapped {
        /// Records that were overwritten before they could be read, exactly.
        lost: u64,
    },
    /// Nothing comes any more: the topic has ended, and everything was read.
    Ended,
}

impl Reader {
    /// Open the file of this name.
    ///
    /// # Errors
    /// [`ShmError::Missing`] when nobody writes it, and what else [`ShmError`] lists.
    pub fn open(name: &str) -> Result<Self, ShmError> {
        let path = claim::path_of(name)?;
        let file = claim::open_made(&path)?;
        let bytes = fstat(&file).map_err(ShmError::io("look at", &path))?.st_size as usize;
        if bytes < PAGE + ENTRIES * ENTRY_WORDS * 8 {
            return Err(ShmError::NotOurs(path));
        }
        let mapping = Arc::new(ReadMapping::new(&file, bytes).map_err(ShmError::io("map", &path))?);
        let reader = Self { file, path, mapping };
        let expected = [VERSION, BYTE_ORDER, bytes as u64, PAGE as u64, ENTRIES as u64];
        let places = [header::VERSION, header::BYTE_ORDER, header::BYTES, header::DIRECTORY, header::ENTRIES];
        if places.map(|at| reader.header(at)) != expected {
            return Err(ShmError::OtherLayout { path: reader.path.clone(), version: reader.header(header::VERSION) });
        }
        Ok(reader)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Process id of the writer.
    pub fn pid(&self) -> u64 {
        self.header(header::PID)
    }

    /// When the writer last said that it runs, ns since 1970.
    pub fn heartbeat_ns(&self) -> i64 {
        self.header(header::HEARTBEAT_NS) as i64
    }

    /// Goes up with every change of the directory.
    pub fn changes(&self) -> u64 {
        self.header(header::CHANGES)
    }

    /// Whether its writer lives. A system call; ask when nothing comes, not for every record.
    pub fn is_alive(&self) -> bool {
        self.header(header::STATE) != CLOSED && claim::is_held(&self.file)
    }

    /// What is in it now, ended topics included.
    pub fn topics(&self) -> Vec<Entry> {
        (0..self.used()).filter_map(|index| self.entry(index)).collect()
    }

    /// Open a topic. For books `depth` asks for the smallest tier that holds as many levels, 0 for the smallest of all.
    ///
    /// # Errors
    /// [`ShmError::NoTopic`] when it is not there.
    pub fn topic(
        &self,
        venue: &str,
        symbol: &str,
        data_type: i32,
        depth: u16,
        from: From,
    ) -> Result<TopicReader, ShmError> {
        let least = if data_type == data_type::ORDERBOOK { depth } else { 0 };
        let is_it = |one: &Entry| {
            (&*one.venue, &*one.symbol, one.data_type, one.state) == (venue, symbol, data_type, LIVE)
                && one.depth >= least
        };
        let found = (0..self.used()).filter_map(|index| Some((index, self.entry(index)?)));
        let found = found.filter(|(_, one)| is_it(one)).min_by_key(|(_, one)| one.depth);
        let opened = found.and_then(|(index, one)| TopicReader::open(&self.mapping, index, &one, from));
        opened.ok_or_else(|| ShmError::NoTopic(format!("{venue} {symbol} of data type {data_type}, depth {depth}")))
    }

    fn used(&self) -> usize {
        (self.header(header::USED) as usize).min(ENTRIES)
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        let words = entry_words(self.mapping.words(), index);
        // While the writer changes it, look again; a writer that died in between is not waited for.
        let entry = (0..100).find_map(|_| read_entry(words))?;
        (entry.state != EMPTY).then_some(entry)
    }

    fn header(&self, at: usize) -> u64 {
        let value = self.mapping.words()[at].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }
}

/// A cursor on a topic that another process writes.
#[derive(Debug)]
pub struct TopicReader {
    ring: Arc<Ring<Window>>,
    entry: Window,
    generation: u64,
    data_type: i32,
    cursor: Cursor,
    lost: u64,
}

impl TopicReader {
    fn open(mapping: &Arc<ReadMapping>, index: usize, found: &Entry, from: From) -> Option<Self> {
        let entry = Window::new(mapping, PAGE / 8 + index * ENTRY_WORDS, ENTRY_WORDS)?;
        let ring = Ring::open(Window::new(mapping, found.offset / 8, found.bytes / 8)?).ok()?;
        let cursor = match from {
            From::Now => ring.cursor_at_end(),
            From::Latest => ring.cursor_at_latest(),
            From::Oldest => ring.cursor_at_start(),
        };
        let (generation, data_type) = (found.generation, found.data_type);
        let mut opened = Self { ring, entry, generation, data_type, cursor, lost: 0 };
        if from == From::Oldest {
            // What was overwritten before anybody asked is not lost to this reader.
            opened.skip_lap();
        }
        opened.is_same().then_some(opened)
    }

    /// Read the next record into `out`, header and body.
    #[inline]
    pub fn read(&mut self, out: &mut Vec<u64>) -> Seen {
        let mut read = self.ring.read(&mut self.cursor, out);
        if read == Read::Empty && self.state() != LIVE {
            // It may have been written between the two looks.
            read = self.ring.read(&mut self.cursor, out);
        }
        self.judge(read)
    }

    /// Append records to `out`, as many as there are in at most about so many words. What stands there at the end of a
    /// topic does not count.
    #[inline]
    pub fn read_run(&mut self, most_words: usize, out: &mut Vec<u64>) -> Seen {
        let mut read = self.ring.read_run(&mut self.cursor, most_words, out);
        if read == Read::Empty && self.state() != LIVE {
            read = self.ring.read_run(&mut self.cursor, most_words, out);
        }
        self.judge(read)
    }

    /// `DataType` of the wire contract.
    pub fn data_type(&self) -> i32 {
        self.data_type
    }

    /// Records that were overwritten before they were read, so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that wait.
    pub fn lag(&self) -> u64 {
        self.ring.lag(&self.cursor)
    }

    /// The sequence that comes next if nothing is lost.
    pub fn next_sequence(&self) -> u64 {
        self.cursor.next_sequence()
    }

    /// Whether there is something to be told: a record, a lap or the end.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.ring.lag(&self.cursor) > 0 || self.state() != LIVE
    }

    #[inline]
    fn judge(&mut self, read: Read) -> Seen {
        match read {
            Read::Empty if self.state() == LIVE => Seen::Empty,
            Read::Record if self.is_same() => Seen::Record,
            Read::Lapped { lost } if self.is_same() => {
                self.lost += lost;
                Seen::Lapped { lost }
            }
            _ => Seen::Ended,
        }
    }

    /// [`EMPTY`] also when the entry is of another topic by now.
    #[inline]
    fn state(&self) -> u32 {
        let state = self.entry.as_ref()[entry::STATE].load(Ordering::Relaxed) as u32;
        if self.is_same() {
            state
        } else {
            EMPTY
        }
    }

    /// Whether what was read before this call was of this topic: its memory may have been given to another one.
    #[inline]
    fn is_same(&self) -> bool {
        fence(Ordering::Acquire);
        self.entry.as_ref()[entry::GENERATION].load(Ordering::Relaxed) == self.generation
    }

    fn skip_lap(&mut self) {
        let (mut ahead, mut words) = (self.cursor, Vec::new());
        if let Read::Lapped { .. } = self.ring.read(&mut ahead, &mut words) {
            self.cursor = ahead;
        }
    }
}
