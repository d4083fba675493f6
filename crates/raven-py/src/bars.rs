//! Bars: of trades in columns, and of topics.

use std::sync::Arc;

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::bars::bar::Scales;
use raven_core::bars::live::Live;
use raven_core::bars::offline::{Offline, Trades};
use raven_core::bars::spec::BarKind;
use raven_core::bars::{decimals, table, Spec};
use raven_core::hub;

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct BarSpec {
    inner: Spec,
}

#[pymethods]
impl BarSpec {
    #[new]
    #[pyo3(signature = (kind, parameters, *, keeps_empty = false, is_split = false, uses_tick_rule = false))]
    fn new(
        kind: &str,
        parameters: Vec<f64>,
        keeps_empty: bool,
        is_split: bool,
        uses_tick_rule: bool,
    ) -> PyResult<Self> {
        let named = BarKind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = named.ok_or_else(|| PyValueError::new_err(format!("{kind:?} is no kind of bar")))?;
        if parameters.len() != kind.parameters().len() {
            let names = kind.parameters().join(", ");
            return Err(PyValueError::new_err(format!("{} bars take {names}", kind.name())));
        }
        Ok(Self { inner: Spec { keeps_empty, is_split, uses_tick_rule, ..Spec::new(kind, &parameters) } })
    }

    #[staticmethod]
    fn kinds() -> Vec<(&'static str, Vec<&'static str>)> {
        BarKind::ALL.into_iter().map(|kind| (kind.name(), kind.parameters().to_vec())).collect()
    }

    #[staticmethod]
    fn of_words(words: Vec<u64>) -> PyResult<Self> {
        let mut body = vec![0; raven_core::record::bar::RULE];
        body.extend(words);
        let missing = || PyValueError::new_err("these words say no kind of bar");
        Ok(Self { inner: Spec::from_words(&body).ok_or_else(missing)? })
    }

    #[staticmethod]
    fn of_label(label: &str) -> PyResult<Self> {
        let missing = || PyValueError::new_err(format!("{label:?} is what no bars are called"));
        Ok(Self { inner: Spec::from_label(label).ok_or_else(missing)? })
    }

    #[getter]
    fn words(&self) -> Vec<u64> {
        self.inner.to_words().to_vec()
    }

    #[getter]
    fn label(&self) -> String {
        self.inner.label()
    }

    #[getter]
    fn config_hash(&self) -> u64 {
        self.inner.config_hash()
    }

    #[getter]
    fn data_type(&self) -> i32 {
        self.inner.data_type()
    }
}

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct BarBuilder {
    inner: Offline,
}

/// Integers as they are, or doubles that become integers in a scale.
enum Values {
    Integers(Vec<i64>),
    Doubles(Vec<f64>),
}

impl Values {
    fn copied(py: Python<'_>, name: &str, buffer: &Bound<'_, PyAny>, rows: usize) -> PyResult<Self> {
        match PyBuffer::<i64>::get(buffer) {
            Ok(integers) => Ok(Self::Integers(copied(py, name, &integers, rows)?)),
            Err(_) => Ok(Self::Doubles(copied(py, name, &PyBuffer::<f64>::get(buffer)?, rows)?)),
        }
    }

    fn integers(self, scale: u8) -> Vec<i64> {
        match self {
            Self::Integers(values) => values,
            Self::Doubles(values) => {
                let mut out = Vec::new();
                decimals::integers_of(&values, scale, &mut out);
                out
            }
        }
    }
}

/// Trades of one symbol, as Python gave them.
struct Columns {
    time_ms: Vec<i64>,
    price: Values,
    quantity: Values,
    sells: Vec<u8>,
    id: Vec<i64>,
    scales: Scales,
}

impl Columns {
    fn copied(
        py: Python<'_>,
        time_ms: &PyBuffer<i64>,
        price: &Bound<'_, PyAny>,
        quantity: &Bound<'_, PyAny>,
        sells: &PyBuffer<u8>,
        id: Option<&PyBuffer<i64>>,
        scales: Scales,
    ) -> PyResult<Self> {
        let time_ms = time_ms.to_vec(py)?;
        let rows = time_ms.len();
        Ok(Self {
            time_ms,
            price: Values::copied(py, "price", price, rows)?,
            quantity: Values::copied(py, "quantity", quantity, rows)?,
            sells: copied(py, "sells", sells, rows)?,
            id: id.map_or_else(|| Ok(Vec::new()), |id| copied(py, "id", id, rows))?,
            scales,
        })
    }

    fn with<T>(self, take: impl FnOnce(&Trades<'_>) -> T) -> T {
        let Self { time_ms, price, quantity, sells, id, scales } = self;
        let (price, quantity) = (price.integers(scales.price), quantity.integers(scales.quantity));
        let (price, quantity) = (&price[..], &quantity[..]);
        take(&Trades { time_ms: &time_ms, price, quantity, sells: &sells, id: &id, scales })
    }
}

fn copied<T: Element>(py: Python<'_>, name: &str, buffer: &PyBuffer<T>, rows: usize) -> PyResult<Vec<T>> {
    let values = buffer.to_vec(py)?;
    if values.len() == rows {
        return Ok(values);
    }
    Err(PyValueError::new_err(format!("{name} has {} rows, time_ms has {rows}", values.len())))
}

#[pymethods]
impl BarBuilder {
    #[new]
    fn new(spec: &BarSpec) -> Self {
        Self { inner: Offline::new(&spec.inner) }
    }

    #[allow(clippy::too_many_arguments)]
    fn take(
        &mut self,
        py: Python<'_>,
        time_ms: PyBuffer<i64>,
        price: &Bound<'_, PyAny>,
        quantity: &Bound<'_, PyAny>,
        sells: PyBuffer<u8>,
        id: Option<PyBuffer<i64>>,
        price_scale: u8,
        quantity_scale: u8,
    ) -> PyResult<()> {
        let scales = Scales { price: price_scale, quantity: quantity_scale };
        let columns = Columns::copied(py, &time_ms, price, quantity, &sells, id.as_ref(), scales)?;
        py.detach(|| columns.with(|trades| self.inner.take(trades)));
        Ok(())
    }

    #[pyo3(signature = (*, with_open_bar, exact))]
    fn columns<'py>(
        &mut self,
        py: Python<'py>,
        with_open_bar: bool,
        exact: bool,
    ) -> (usize, Vec<u8>, Vec<Bound<'py, PyBytes>>) {
        let scales = self.inner.scales();
        let mut bars = self.inner.bars();
        bars.extend(self.inner.open_bar().filter(|_| with_open_bar));
        let columns = py.detach(|| table::columns(&bars, scales, exact));
        let columns = columns.iter().map(|column| PyBytes::new(py, column)).collect();
        (bars.len(), table::value_scales(scales).to_vec(), columns)
    }

    #[getter]
    fn counts(&self) -> (u64, u64, u64, u64, u64) {
        let counts = self.inner.counts();
        (counts.trades, counts.taken, counts.late, counts.known, counts.dropped)
    }
}

/// See `_core.pyi`.
#[pyfunction]
pub fn scale_of_doubles(py: Python<'_>, values: PyBuffer<f64>, scale: u8) -> PyResult<(Option<u8>, f64)> {
    let values = values.to_vec(py)?;
    Ok(py.detach(|| (decimals::scale_of(&values, scale), decimals::largest(&values))))
}

/// See `_core.pyi`.
#[pyfunction]
pub fn scale_that_fits(largest: f64, scale: u8) -> u8 {
    decimals::scale_that_fits(largest, scale)
}

/// See `_core.pyi`.
#[pyfunction]
pub fn decimals_of_wide<'py>(
    py: Python<'py>,
    values: PyBuffer<u8>,
    scale: u8,
) -> PyResult<Option<(Bound<'py, PyBytes>, u8)>> {
    let values = values.to_vec(py)?;
    let found = py.detach(|| decimals::of_wide(&values, scale));
    found.map(|(values, scale)| Ok((integers(py, &values)?, scale))).transpose()
}

/// See `_core.pyi`.
#[pyfunction]
pub fn sides_of_texts<'py>(
    py: Python<'py>,
    offsets: PyBuffer<i32>,
    text: PyBuffer<u8>,
) -> PyResult<(Bound<'py, PyBytes>, i64)> {
    let (offsets, text) = (offsets.to_vec(py)?, text.to_vec(py)?);
    match py.detach(|| decimals::of_sides(&offsets, &text)) {
        Ok(sells) => Ok((PyBytes::new(py, &sells), -1)),
        Err(row) => Ok((PyBytes::new(py, &[]), row as i64)),
    }
}

fn integers<'py>(py: Python<'py>, values: &[i64]) -> PyResult<Bound<'py, PyBytes>> {
    crate::collector::words(py, values, i64::to_le_bytes)
}

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct LiveBars {
    inner: Live,
    source: Arc<hub::Hub>,
}

#[pymethods]
impl LiveBars {
    #[new]
    #[pyo3(signature = (spec, source, target, *, grace_ms = 1000))]
    fn new(spec: &BarSpec, source: &crate::hub::Hub, target: &crate::hub::Hub, grace_ms: i64) -> Self {
        let inner = Live::new(spec.inner, Arc::clone(&target.inner), grace_ms);
        Self { inner, source: Arc::clone(&source.inner) }
    }

    #[pyo3(signature = (topic_id, *, ring_bytes = 65_536, state = None, from_start = true))]
    fn add(
        &mut self,
        topic_id: u32,
        ring_bytes: usize,
        state: Option<Vec<u64>>,
        from_start: bool,
    ) -> PyResult<(u32, bool)> {
        let missing = || PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()"));
        let topic = self.source.topic(topic_id).ok_or_else(missing)?;
        let reader = if from_start { topic.reader_from_start() } else { topic.reader(false) };
        let state = state.unwrap_or_default();
        self.inner.add(reader, ring_bytes, &state).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn remove(&mut self, topic_id: u32) -> bool {
        self.inner.remove(topic_id)
    }

    #[allow(clippy::too_many_arguments)]
    fn take_past(
        &mut self,
        py: Python<'_>,
        topic_id: u32,
        time_ms: PyBuffer<i64>,
        price: &Bound<'_, PyAny>,
        quantity: &Bound<'_, PyAny>,
        sells: PyBuffer<u8>,
        id: Option<PyBuffer<i64>>,
        price_scale: u8,
        quantity_scale: u8,
    ) -> PyResult<bool> {
        let scales = Scales { price: price_scale, quantity: quantity_scale };
        let columns = Columns::copied(py, &time_ms, price, quantity, &sells, id.as_ref(), scales)?;
        Ok(py.detach(|| columns.with(|trades| self.inner.take_past(topic_id, trades))))
    }

    fn step(&mut self, py: Python<'_>, now_ms: i64, max_trades: usize) -> u64 {
        py.detach(|| self.inner.step(now_ms, max_trades))
    }

    fn state(&self, topic_id: u32) -> Option<Vec<u64>> {
        self.inner.state(topic_id)
    }

    fn counts(&self, topic_id: u32) -> Option<(u64, u64, u64, u64, u64)> {
        let counts = self.inner.counts(topic_id)?;
        Some((counts.trades, counts.taken, counts.late, counts.known, counts.dropped))
    }
}
