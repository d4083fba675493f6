//! Rings in shared memory: the memory that a hub makes its rings in, and the reader's side in another process.

use std::hint::spin_loop;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyFileNotFoundError, PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::columns::Columns;
use raven_core::record::{Header, Kind, HEADER_WORDS};
use raven_shm as core;
use raven_shm::reader::From;
use raven_shm::{Seen, ShmError};

use crate::collector::buffers;
use crate::record::Record;

/// Words that are read at once: with less, the look at the writer shows; with more, a lap throws more away.
const RUN_WORDS: usize = 4096;
/// How long a waiting reader sleeps between two looks.
const NAPS: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));
/// Looks of a spinning reader between two looks at the clock.
const SPINS: usize = 256;
/// Length and kind of a record, in its first word.
const SHAPE: u64 = 0xff_ffff_ffff;

fn raised(error: ShmError) -> PyErr {
    let text = error.to_string();
    match error {
        ShmError::Missing(_) => PyFileNotFoundError::new_err(text),
        ShmError::NoTopic(_) => PyKeyError::new_err(text),
        ShmError::Io { .. } => PyOSError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct SharedMemory {
    pub(crate) inner: Arc<core::Segment>,
}

#[pymethods]
impl SharedMemory {
    #[new]
    fn new(py: Python<'_>, name: &str, max_bytes: usize, now_ns: i64) -> PyResult<Self> {
        let made = py.detach(|| core::Segment::create(name, max_bytes, now_ns));
        Ok(Self { inner: Arc::new(made.map_err(raised)?) })
    }

    #[getter]
    fn path(&self) -> String {
        self.inner.path().display().to_string()
    }

    fn beat(&self, now_ns: i64) {
        self.inner.beat(now_ns);
    }

    fn usage(&self) -> (u64, u64, u64, String) {
        let usage = self.inner.usage();
        (usage.topics, usage.bytes, usage.refused, usage.trouble)
    }

    fn close(&self) {
        self.inner.close();
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct SharedReader {
    inner: core::Reader,
}

#[pymethods]
impl SharedReader {
    #[new]
    fn new(name: &str) -> PyResult<Self> {
        Ok(Self { inner: core::Reader::open(name).map_err(raised)? })
    }

    #[getter]
    fn path(&self) -> String {
        self.inner.path().display().to_string()
    }

    #[getter]
    fn pid(&self) -> u64 {
        self.inner.pid()
    }

    #[getter]
    fn heartbeat_ns(&self) -> i64 {
        self.inner.heartbeat_ns()
    }

    fn is_alive(&self) -> bool {
        self.inner.is_alive()
    }

    fn topics(&self) -> Vec<(String, String, i32, u16, bool)> {
        let row = |one: core::layout::Entry| {
            let is_ended = one.state == core::layout::ENDED;
            (one.venue, one.symbol, one.data_type, one.depth, is_ended)
        };
        self.inner.topics().into_iter().map(row).collect()
    }

    #[pyo3(signature = (venue, symbol, data_type, depth = 0, *, start = "now"))]
    fn topic(&self, venue: &str, symbol: &str, data_type: i32, depth: u16, start: &str) -> PyResult<SharedTopic> {
        let from = match start {
            "now" => From::Now,
            "latest" => From::Latest,
            "oldest" => From::Oldest,
            _ => return Err(PyValueError::new_err(format!("start is {start:?}; use now, latest or oldest"))),
        };
        let inner = self.inner.topic(venue, symbol, data_type, depth, from).map_err(raised)?;
        Ok(SharedTopic { inner, words: Vec::new(), at: 0, has_ended: false })
    }
}

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct SharedTopic {
    inner: core::TopicReader,
    /// Records that were read and not handed out; they begin at `at`.
    words: Vec<u64>,
    at: usize,
    has_ended: bool,
}

/// `(kind, rows, words)`.
type Taken<'py> = (u8, usize, Bound<'py, PyBytes>);

#[pymethods]
impl SharedTopic {
    fn read(&mut self) -> Option<Record> {
        if self.at < self.words.len() {
            let end = self.at + Header::total_words(self.words[self.at]);
            let record = self.words[self.at..end].to_vec();
            self.at = end;
            return Record::new(record);
        }
        let mut words = Vec::new();
        match self.inner.read(&mut words) {
            Seen::Record => Record::new(words),
            Seen::Empty => None,
            Seen::Lapped { lost } => Some(Record::lapped(self.inner.data_type(), lost, 0)),
            Seen::Ended => {
                self.has_ended = true;
                None
            }
        }
    }

    fn take<'py>(&mut self, py: Python<'py>, max_records: usize) -> PyResult<Option<Taken<'py>>> {
        py.detach(|| self.fill(max_records));
        let Some(first) = self.words.get(self.at).copied() else { return Ok(None) };
        let kind = (first >> 32) as u8;
        // Books differ in length; what is of one length can be looked at as a table.
        let mask = if kind == Kind::Book as u8 { SHAPE & !0xffff_ffff } else { SHAPE };
        let (mut end, mut rows) = (self.at, 0);
        while let Some(word) = self.words.get(end) {
            if (word ^ first) & mask != 0 || rows == max_records {
                break;
            }
            (end, rows) = (end + Header::total_words(*word), rows + 1);
        }
        let bytes = crate::collector::words(py, &self.words[self.at..end], u64::to_le_bytes)?;
        self.at = end;
        Ok(Some((kind, rows, bytes)))
    }

    fn wait(&self, py: Python<'_>, timeout_seconds: f64, spin: bool) -> bool {
        let timeout = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        py.detach(|| self.at < self.words.len() || self.wait_for_more(timeout, spin))
    }

    #[getter]
    fn has_ended(&self) -> bool {
        self.has_ended && self.at == self.words.len()
    }

    #[getter]
    fn lost(&self) -> u64 {
        self.inner.lost()
    }

    #[getter]
    fn lag(&self) -> u64 {
        self.inner.lag()
    }

    #[staticmethod]
    fn columns<'py>(py: Python<'py>, kind: u8, words: &[u8]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let kind = Kind::from_u8(kind).ok_or_else(|| PyValueError::new_err(format!("{kind} is no kind of record")))?;
        let columns = py.detach(|| {
            let words = words.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_le_bytes);
            columns_of(kind, &words.collect::<Vec<_>>())
        });
        let columns = columns.ok_or_else(|| PyValueError::new_err(format!("these are no records of kind {kind:?}")))?;
        buffers(py, &columns)
    }
}

impl SharedTopic {
    /// Read what there is, unless something waits; a lap is a gap record in its place.
    fn fill(&mut self, max_records: usize) {
        if self.at < self.words.len() {
            return;
        }
        self.words.clear();
        self.at = 0;
        let first = self.inner.next_sequence();
        loop {
            let before = self.words.len();
            let seen = self.inner.read_run(RUN_WORDS, &mut self.words);
            match seen {
                Seen::Record if self.inner.next_sequence() - first < max_records as u64 => {}
                Seen::Record | Seen::Empty => return,
                Seen::Lapped { lost } => self.words.extend(Record::lapped(self.inner.data_type(), lost, 0).words()),
                Seen::Ended => {
                    self.words.truncate(before);
                    self.has_ended = true;
                    return;
                }
            }
        }
    }

    fn wait_for_more(&self, timeout: Duration, spin: bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut nap = NAPS.0;
        loop {
            if spin {
                for _ in 0..SPINS {
                    if self.inner.is_due() {
                        return true;
                    }
                    spin_loop();
                }
            } else if self.inner.is_due() {
                return true;
            }
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            if !spin {
                thread::sleep(nap.min(deadline - now));
                nap = (nap * 2).min(NAPS.1);
            }
        }
    }
}

/// `None` when these are not whole records of this kind.
fn columns_of(kind: Kind, words: &[u64]) -> Option<Columns> {
    let mut columns = Columns::new(kind);
    let mut rest = words;
    while let Some(word) = rest.first() {
        let (record, behind) = rest.split_at_checked(Header::total_words(*word).max(HEADER_WORDS))?;
        let header = Header::from_words(record).filter(|header| header.kind == kind)?;
        let levels = 1 + 2 * (usize::from(header.bids) + usize::from(header.asks));
        let body = raven_core::columns::body_words(kind).unwrap_or(levels);
        columns.push(0, &header, record[HEADER_WORDS..].get(..body)?);
        rest = behind;
    }
    Some(columns)
}
