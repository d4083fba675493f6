//! The far end of a hop between roles.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyDictMethods};
use raven_core::hub::TopicKey;
use raven_core::inlet as core;
use raven_core::record::data_type;

use crate::hub::Hub;

/// Smallest ring: room for some of the longest records that are no books.
const MIN_RING_BYTES: usize = 4096;

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Inlet {
    inner: core::Inlet,
}

#[pymethods]
impl Inlet {
    #[new]
    fn new(hub: &Hub) -> Self {
        Self { inner: core::Inlet::new(hub.inner.clone()) }
    }

    #[pyo3(signature = (venue, symbol, data_type, *, depth = 0, ring_bytes = 262_144))]
    fn open(&mut self, venue: &str, symbol: &str, data_type: i32, depth: u16, ring_bytes: usize) -> PyResult<u32> {
        if (data_type == data_type::ORDERBOOK) != (depth > 0) {
            return Err(PyValueError::new_err(format!("a depth of {depth} for data type {data_type}; books have one")));
        }
        let key = TopicKey { venue: venue.into(), symbol: symbol.into(), data_type, depth };
        let opened = self.inner.open(key, ring_bytes.max(MIN_RING_BYTES));
        opened.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn close(&mut self, venue: &str, symbol: &str, data_type: i32) -> bool {
        self.inner.close(venue, symbol, data_type)
    }

    fn position(&mut self, venue: &str, symbol: &str, data_type: i32) -> Option<(u64, i64)> {
        self.inner.position(venue, symbol, data_type)
    }

    fn mark_unknown(&mut self, venue: &str, symbol: &str, data_type: i32, now_ns: i64) -> bool {
        self.inner.mark_unknown(venue, symbol, data_type, now_ns)
    }

    fn on_frame(&mut self, py: Python<'_>, now_ns: i64, frame: &Bound<'_, PyBytes>) -> u64 {
        let frame = frame.as_bytes();
        let inner = &mut self.inner;
        py.detach(|| inner.on_frame(now_ns, frame))
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counted = self.inner.counters();
        let dict = PyDict::new(py);
        for (name, value) in [
            ("frames", counted.frames),
            ("bytes", counted.bytes),
            ("records", counted.records),
            ("duplicates", counted.duplicates),
            ("gaps", counted.gaps),
            ("missing", counted.missing),
            ("broken", counted.broken),
            ("unasked", counted.unasked),
        ] {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }

    #[getter]
    fn newest_recv_ns(&self) -> i64 {
        self.inner.newest_recv_ns()
    }
}
