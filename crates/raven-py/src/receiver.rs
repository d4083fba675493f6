//! A client's end of a stream.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::decode::table::{Head, Side, Table};
use raven_core::receiver as core;
use raven_core::record::Kind;

use crate::collector::words;

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Receiver {
    inner: core::Receiver,
    verdicts: Vec<(Option<u64>, i32)>,
}

/// `(kind, rows, columns)`.
type Batch<'py> = (u8, usize, Vec<Bound<'py, PyBytes>>);

#[pymethods]
impl Receiver {
    #[new]
    #[pyo3(signature = (*, has_past = false))]
    fn new(has_past: bool) -> Self {
        Self { inner: core::Receiver::new(has_past), verdicts: Vec::new() }
    }

    fn judge(&mut self, frame: &[u8]) -> Option<Vec<(i64, i32)>> {
        self.inner.judge(frame, &mut self.verdicts);
        if self.verdicts.iter().all(|(missing, _)| *missing == Some(0)) {
            return None;
        }
        let count = |missing: Option<u64>| missing.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        Some(self.verdicts.iter().map(|(missing, data_type)| (count(*missing), *data_type)).collect())
    }

    fn collect(&mut self, py: Python<'_>, now_ns: i64, frame: &Bound<'_, PyBytes>) -> usize {
        let frame = frame.as_bytes();
        let inner = &mut self.inner;
        py.detach(|| inner.collect(now_ns, frame))
    }

    #[getter]
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<Batch<'py>>> {
        let batch = |(kind, table): (Kind, Table)| Ok((kind as u8, table.heads.len(), buffers(py, kind, &table)?));
        self.inner.take().into_iter().map(batch).collect()
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn heard(&self) -> Vec<(String, String, i32, u64, i64, bool)> {
        let row = |topic: core::Heard| {
            let (sequence, recv_ns) = (topic.position.sequence, topic.position.recv_ns);
            (topic.venue, topic.symbol, topic.data_type, sequence, recv_ns, topic.is_past)
        };
        self.inner.heard().into_iter().map(row).collect()
    }
}

/// The head's columns in the order of its fields, then those of the body, of books bids and asks.
fn buffers<'py>(py: Python<'py>, kind: Kind, table: &Table) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let heads = &table.heads;
    let mut out = vec![
        column(py, heads, |head| head.venue.to_le_bytes())?,
        column(py, heads, |head| head.symbol.to_le_bytes())?,
        column(py, heads, |head| head.exchange_ns.to_le_bytes())?,
        column(py, heads, |head| head.recv_ns.to_le_bytes())?,
        column(py, heads, |head| head.id.to_le_bytes())?,
        column(py, heads, |head| head.sequence.to_le_bytes())?,
        column(py, heads, |head| head.flags.to_le_bytes())?,
    ];
    for values in &table.body {
        out.push(words(py, values, |value| value.to_le_bytes())?);
    }
    if kind == Kind::Book {
        for Side { offsets, prices, quantities, proven } in [&table.bids, &table.asks] {
            out.push(words(py, offsets, |value| value.to_le_bytes())?);
            out.push(words(py, prices, |value| value.to_le_bytes())?);
            out.push(words(py, quantities, |value| value.to_le_bytes())?);
            out.push(words(py, proven, |value| value.to_le_bytes())?);
        }
    }
    Ok(out)
}

fn column<'py, const N: usize>(
    py: Python<'py>,
    heads: &[Head],
    bytes: fn(&Head) -> [u8; N],
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, heads.len() * N, |out| {
        out.chunks_exact_mut(N).zip(heads).for_each(|(out, head)| out.copy_from_slice(&bytes(head)));
        Ok(())
    })
}
