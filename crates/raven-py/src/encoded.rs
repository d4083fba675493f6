//! Batches of records as messages for clients.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use raven_core::columns::Columns;
use raven_core::encode::Encoder;
use raven_core::record::Kind;

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct Encoded {
    pub(crate) inner: raven_serve::Encoded,
}

#[pymethods]
impl Encoded {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (
        kind, rows, columns, *, venue, symbol, data_type, producer = "raven", depth = 0, flags = 0,
    ))]
    fn new(
        py: Python<'_>,
        kind: u8,
        rows: usize,
        columns: Vec<PyBuffer<u8>>,
        venue: &str,
        symbol: &str,
        data_type: i32,
        producer: &str,
        depth: usize,
        flags: u32,
    ) -> PyResult<Self> {
        let kind = Kind::from_u8(kind).ok_or_else(|| PyValueError::new_err(format!("{kind} is no kind of record")))?;
        let buffers = columns.iter().map(|column| column.to_vec(py)).collect::<PyResult<Vec<_>>>()?;
        let encoder = Encoder::new(venue, symbol, data_type, producer);
        let inner = py.detach(|| {
            let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
            Columns::from_buffers(kind, rows, &slices)
                .map(|columns| raven_serve::encode(&columns, &encoder, depth, flags))
        });
        let inner = inner.ok_or_else(|| {
            PyValueError::new_err(format!("the columns of {rows} records of kind {kind:?} do not fit together"))
        })?;
        Ok(Self { inner })
    }

    #[getter]
    fn messages(&self) -> u64 {
        self.inner.messages
    }

    #[getter]
    fn size(&self) -> usize {
        self.inner.bytes.len()
    }
}
