//! Batches of records as columns, for the journal.

use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::collector as core;
use raven_core::columns::{Columns, Side};
use raven_core::hub;

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Collector {
    inner: core::Collector,
    hub: Arc<hub::Hub>,
}

/// `(kind, rows, columns)`.
type Batch<'py> = (u8, usize, Vec<Bound<'py, PyBytes>>);

#[pymethods]
impl Collector {
    #[new]
    #[pyo3(signature = (hub, *, book_interval_ns = 1_000_000_000))]
    fn new(hub: &crate::hub::Hub, book_interval_ns: i64) -> Self {
        Self { inner: core::Collector::new(book_interval_ns.max(0)), hub: Arc::clone(&hub.inner) }
    }

    fn books(&self) -> Vec<(u32, u64, i64)> {
        self.inner.books().collect()
    }

    fn add(&mut self, topic_id: u32) -> PyResult<()> {
        let missing = || PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()"));
        self.inner.add(self.hub.topic(topic_id).ok_or_else(missing)?.reader_from_start());
        Ok(())
    }

    fn remove(&mut self, topic_id: u32) -> bool {
        self.inner.remove(topic_id)
    }

    #[getter]
    fn lost(&self) -> u64 {
        self.inner.lost()
    }

    #[pyo3(signature = (max_records, now_ns, *, last = false))]
    fn collect(&mut self, py: Python<'_>, max_records: usize, now_ns: i64, last: bool) -> usize {
        py.detach(|| self.inner.collect(max_records, now_ns, last))
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<Batch<'py>>> {
        let batch = |columns: Columns| Ok((columns.kind as u8, columns.len(), buffers(py, &columns)?));
        self.inner.take().into_iter().map(batch).collect()
    }
}

/// In the order of the fields of `Columns`.
pub(crate) fn buffers<'py>(py: Python<'py>, columns: &Columns) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let mut out = vec![
        words(py, &columns.topic, |value| value.to_le_bytes())?,
        words(py, &columns.flags, |value| value.to_le_bytes())?,
        words(py, &columns.sequence, |value| value.to_le_bytes())?,
        words(py, &columns.recv_ns, |value| value.to_le_bytes())?,
        words(py, &columns.exchange_ns, |value| value.to_le_bytes())?,
        words(py, &columns.id, |value| value.to_le_bytes())?,
        PyBytes::new(py, &columns.price_scale),
        PyBytes::new(py, &columns.quantity_scale),
    ];
    for column in &columns.body {
        out.push(words(py, column, |value| value.to_le_bytes())?);
    }
    if columns.body.is_empty() {
        for Side { offsets, prices, quantities, proven } in [&columns.bids, &columns.asks] {
            out.push(words(py, offsets, |value| value.to_le_bytes())?);
            out.push(words(py, prices, |value| value.to_le_bytes())?);
            out.push(words(py, quantities, |value| value.to_le_bytes())?);
            out.push(words(py, proven, |value| value.to_le_bytes())?);
        }
    }
    Ok(out)
}

/// A column as little-endian bytes.
pub(crate) fn words<'py, T: Copy, const N: usize>(
    py: Python<'py>,
    column: &[T],
    bytes: fn(T) -> [u8; N],
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, column.len() * N, |out| {
        out.chunks_exact_mut(N).zip(column).for_each(|(out, value)| out.copy_from_slice(&bytes(*value)));
        Ok(())
    })
}
