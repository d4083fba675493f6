//! Topics, readers and Python-owned writers.

use std::sync::Arc;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use raven_core::hub as core;
use raven_core::record::{Header, Kind};
use raven_core::ring::Read;

use crate::record::Record;
use crate::shm::SharedMemory;

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct Hub {
    /// The hub itself, shared with engines and servers.
    pub inner: Arc<core::Hub>,
}

/// `(topic_id, venue, symbol, data_type, depth, readers)`.
type TopicRow = (u32, String, String, i32, u16, u32);

#[pymethods]
impl Hub {
    #[new]
    #[pyo3(signature = (memory = None))]
    fn new(memory: Option<&SharedMemory>) -> Self {
        Self { inner: core::Hub::in_memory_of(memory.map(|memory| Arc::clone(&memory.inner) as _)) }
    }

    fn topics(&self) -> Vec<TopicRow> {
        let row = |topic: Arc<core::Topic>| {
            let key = topic.key();
            let (venue, symbol) = (key.venue.to_string(), key.symbol.to_string());
            (topic.id(), venue, symbol, key.data_type, key.depth, topic.readers())
        };
        self.inner.topics().into_iter().map(row).collect()
    }

    #[pyo3(signature = (venue, symbol, data_type, depth = 0))]
    fn find(&self, venue: &str, symbol: &str, data_type: i32, depth: u16) -> Option<u32> {
        self.inner.find(venue, symbol, data_type, depth).map(|topic| topic.id())
    }

    fn head(&self, topic_id: u32) -> PyResult<u64> {
        Ok(self.topic(topic_id)?.ring().head_sequence())
    }

    #[pyo3(signature = (topic_id, *, from_latest = false))]
    fn reader(&self, topic_id: u32, from_latest: bool) -> PyResult<Reader> {
        let topic = self.topic(topic_id)?;
        Ok(Reader { inner: topic.reader(from_latest), words: Vec::new() })
    }

    fn create_topic(&self, venue: &str, symbol: &str, data_type: i32, ring_bytes: usize) -> PyResult<Writer> {
        let key = core::TopicKey { venue: venue.into(), symbol: symbol.into(), data_type, depth: 0 };
        match self.inner.create_topic(key, ring_bytes) {
            Ok(publisher) => Ok(Writer { publisher, hub: Arc::clone(&self.inner) }),
            Err(error) => Err(PyValueError::new_err(error.to_string())),
        }
    }
}

impl Hub {
    fn topic(&self, topic_id: u32) -> PyResult<Arc<core::Topic>> {
        let missing = || PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()"));
        self.inner.topic(topic_id).ok_or_else(missing)
    }
}

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Reader {
    inner: core::TopicReader,
    words: Vec<u64>,
}

#[pymethods]
impl Reader {
    #[pyo3(signature = (max_records = 1024))]
    fn drain(&mut self, max_records: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < max_records {
            match self.inner.read(&mut self.words) {
                Read::Empty => break,
                Read::Record => records.extend(Record::new(self.words.clone())),
                Read::Lapped { lost } => {
                    let data_type = self.inner.topic().key().data_type;
                    records.push(Record::lapped(data_type, lost, 0));
                }
            }
        }
        records
    }

    #[getter]
    fn lost(&self) -> u64 {
        self.inner.lost()
    }
}

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Writer {
    publisher: core::Publisher,
    hub: Arc<core::Hub>,
}

impl Writer {
    fn header(recv_ns: i64, exchange_ns: i64, id: u64, price_scale: u8, quantity_scale: u8) -> Header {
        let (kind, flags, sequence, bids, asks) = (Kind::Trade, 0, 0, 0, 0);
        Header { kind, flags, sequence, recv_ns, exchange_ns, id, price_scale, quantity_scale, bids, asks }
    }
}

#[pymethods]
impl Writer {
    #[getter]
    fn topic_id(&self) -> u32 {
        self.publisher.topic().id()
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (recv_ns, exchange_ns, trade_id, price, quantity, *, price_scale, quantity_scale, taker_sells))]
    fn trade(
        &mut self,
        recv_ns: i64,
        exchange_ns: i64,
        trade_id: u64,
        price: i64,
        quantity: i64,
        price_scale: u8,
        quantity_scale: u8,
        taker_sells: bool,
    ) -> u64 {
        let header = Self::header(recv_ns, exchange_ns, trade_id, price_scale, quantity_scale);
        let words = [price as u64, quantity as u64, u64::from(taker_sells), 0, 0];
        let sequence = self.publisher.publish(&header, &words);
        self.hub.ring_doorbell();
        sequence
    }

    #[pyo3(signature = (count, first_id, price, quantity, *, price_scale, quantity_scale))]
    fn trades(
        &mut self,
        count: u64,
        first_id: u64,
        price: i64,
        quantity: i64,
        price_scale: u8,
        quantity_scale: u8,
    ) -> u64 {
        let mut sequence = 0;
        for id in first_id..first_id + count {
            let header = Self::header(0, 0, id, price_scale, quantity_scale);
            sequence = self.publisher.publish(&header, &[price as u64, quantity as u64, id & 1, 0, 0]);
        }
        self.hub.ring_doorbell();
        sequence
    }
}
