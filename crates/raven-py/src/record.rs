//! One record of a ring, as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::encode::Encoder;
use raven_core::record::{gap, Header, Kind, HEADER_WORDS};

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct Record {
    words: Vec<u64>,
    header: Header,
}

impl Record {
    /// From the words that a ring handed out.
    pub fn new(words: Vec<u64>) -> Option<Self> {
        let header = Header::from_words(&words)?;
        Some(Self { words, header })
    }

    /// The gap mark of a reader that was lapped.
    pub fn lapped(data_type: i32, lost: u64, next_sequence: u64) -> Self {
        let header = Header {
            kind: Kind::Gap,
            flags: raven_core::record::flags::AFTER_GAP,
            sequence: next_sequence,
            recv_ns: 0,
            exchange_ns: 0,
            id: 0,
            price_scale: 0,
            quantity_scale: 0,
            bids: 0,
            asks: 0,
        };
        let mut words = header.to_words(HEADER_WORDS + gap::WORDS).to_vec();
        words.resize(HEADER_WORDS + gap::WORDS, 0);
        words[HEADER_WORDS + gap::DATA_TYPE] = data_type as u64;
        words[HEADER_WORDS + gap::COUNT] = lost;
        words[HEADER_WORDS + gap::REASON] = raven_core::record::GapReason::SlowReader as u64;
        Self { words, header }
    }

    /// Header and body.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn levels(&self, skip: usize, count: u16, depth: usize) -> Vec<(i64, i64)> {
        let take = if depth == 0 { usize::from(count) } else { usize::from(count).min(depth) };
        let start = HEADER_WORDS + 1 + 2 * skip;
        let pairs = self.words.get(start..).unwrap_or_default().chunks_exact(2);
        pairs.take(take).map(|pair| (pair[0] as i64, pair[1] as i64)).collect()
    }
}

#[pymethods]
impl Record {
    #[getter]
    fn kind(&self) -> u8 {
        self.header.kind as u8
    }

    #[getter]
    fn flags(&self) -> u32 {
        self.header.flags
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.header.sequence
    }

    #[getter]
    fn recv_ns(&self) -> i64 {
        self.header.recv_ns
    }

    #[getter]
    fn exchange_ns(&self) -> i64 {
        self.header.exchange_ns
    }

    #[getter]
    fn id(&self) -> u64 {
        self.header.id
    }

    #[getter]
    fn price_scale(&self) -> u8 {
        self.header.price_scale
    }

    #[getter]
    fn quantity_scale(&self) -> u8 {
        self.header.quantity_scale
    }

    #[getter]
    fn body(&self) -> Vec<i64> {
        self.words[HEADER_WORDS..].iter().map(|word| *word as i64).collect()
    }

    #[pyo3(signature = (depth = 0))]
    fn bids(&self, depth: usize) -> Vec<(i64, i64)> {
        self.levels(0, self.header.bids, depth)
    }

    #[pyo3(signature = (depth = 0))]
    fn asks(&self, depth: usize) -> Vec<(i64, i64)> {
        self.levels(usize::from(self.header.bids), self.header.asks, depth)
    }

    fn encode<'py>(&self, py: Python<'py>, venue: &str, symbol: &str, data_type: i32) -> Bound<'py, PyBytes> {
        let mut bytes = Vec::new();
        Encoder::new(venue, symbol, data_type, "").encode(&self.words, 0, &mut bytes);
        PyBytes::new(py, &bytes)
    }

    fn __repr__(&self) -> String {
        let Header { kind, sequence, id, flags, .. } = self.header;
        format!("Record(kind={kind:?}, sequence={sequence}, id={id}, flags={flags})")
    }
}
