//! The recorder's side of a tap.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::tap as core;

/// See `_core.pyi`.
#[pyclass(module = "raven._core", frozen)]
pub struct Tap {
    pub inner: Arc<core::Tap>,
}

/// `(connection, first_ns, messages, text)`.
type Part<'py> = (u32, i64, u64, Bound<'py, PyBytes>);

#[pymethods]
impl Tap {
    #[new]
    fn new(max_bytes: usize) -> Self {
        Self { inner: Arc::new(core::Tap::new(max_bytes)) }
    }

    fn note(&self, connection: u32, recv_ns: i64, line: &[u8]) -> bool {
        self.inner.note(connection, recv_ns, line)
    }

    fn take<'py>(&self, py: Python<'py>) -> Vec<Part<'py>> {
        let taken = py.detach(|| self.inner.take());
        let part = |lines: core::Lines| (lines.connection, lines.first_ns, lines.count, PyBytes::new(py, &lines.text));
        taken.into_iter().map(part).collect()
    }

    #[getter]
    fn waiting(&self) -> usize {
        self.inner.waiting()
    }

    #[getter]
    fn taken(&self) -> u64 {
        self.inner.taken()
    }

    #[getter]
    fn lost(&self) -> (u64, u64) {
        let lost = self.inner.lost();
        (lost.messages, lost.bytes)
    }
}
