//! The engine's Python face.

use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyKeyError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyDictMethods};
use raven_core::citadel::Policy;
use raven_core::engine::{self as core, answer, EngineConfig};
use raven_core::instrument::Instrument;
use raven_core::latency::Histogram;
use raven_core::parse::decimal::MAX_SCALE;
use raven_core::parse::event::Scales;
use raven_core::pending::PendingLimits;
use raven_core::record::GapReason;
use raven_core::sequence::Rule;

use crate::hub::Hub;

/// See `_core.pyi`.
#[pyclass(module = "raven._core")]
pub struct Engine {
    inner: core::Engine,
    words: Vec<u64>,
    tap: Option<Arc<raven_core::tap::Tap>>,
}

/// `(event, connection, instrument, reason, number, raw)`.
type EventRow<'py> = (&'static str, i64, i64, &'static str, u64, Bound<'py, PyBytes>);

fn now_ns() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |duration| duration.as_nanos() as i64)
}

/// Reasons are kept for the life of the process, so only known words are taken.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["reconnect", "silence", "requested", "resubscribed", "snapshot_failed", "verify", "paused", "start"];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("requested")
}

/// Borrow the bytes of any contiguous buffer for the length of one call.
fn with_bytes<T>(buffer: &Bound<'_, PyAny>, act: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
    if let Ok(bytes) = buffer.cast::<PyBytes>() {
        return Ok(act(bytes.as_bytes()));
    }
    let view = PyBuffer::<u8>::get(buffer)?;
    if !view.is_c_contiguous() {
        return Err(PyValueError::new_err(
            "the frame is not one contiguous run of bytes; pass bytes or a plain memoryview",
        ));
    }
    #[allow(unsafe_code)]
    // SAFETY: the buffer is contiguous u8, `view` keeps it exported, and the interpreter lock is held for the whole
    // call, so nobody can resize, free or write it while the slice lives.
    let bytes = unsafe { std::slice::from_raw_parts(view.buf_ptr().cast::<u8>(), view.len_bytes()) };
    Ok(act(bytes))
}

impl Engine {
    fn at(&self, instrument: u32) -> PyResult<&Instrument> {
        let missing = || PyKeyError::new_err(format!("there is no instrument {instrument}; it may have been removed"));
        self.inner.instrument(instrument).ok_or_else(missing)
    }

    #[inline(always)]
    fn take(&mut self, connection: u32, recv_ns: i64, frame: &[u8]) -> u32 {
        if let Some(tap) = &self.tap {
            tap.frame(connection, recv_ns, frame);
        }
        let bits = self.inner.on_frame(connection, recv_ns, frame);
        if bits & answer::PUBLISHED != 0 {
            self.inner.observe_latency(now_ns() - recv_ns);
        }
        bits
    }
}

fn dictionary<'py>(
    py: Python<'py>,
    pairs: impl IntoIterator<Item = (&'static str, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    pairs.into_iter().try_for_each(|(name, count)| dict.set_item(name, count))?;
    Ok(dict)
}

#[pymethods]
impl Engine {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (
        hub, *, strict = true, sanitize = true, max_price_deviation = 10.0, deviation_confirmations = 3,
        max_clock_skew_ms = 0, validation = true, book_depth = 20, max_frame_bytes = 1_048_576,
        resync_buffer_events = 10_000, resync_buffer_bytes = 4_194_304, max_pending_events = 4096,
        quarantine_bytes = 65_536,
    ))]
    fn new(
        hub: &Hub,
        strict: bool,
        sanitize: bool,
        max_price_deviation: f64,
        deviation_confirmations: u32,
        max_clock_skew_ms: i64,
        validation: bool,
        book_depth: usize,
        max_frame_bytes: usize,
        resync_buffer_events: usize,
        resync_buffer_bytes: usize,
        max_pending_events: usize,
        quarantine_bytes: usize,
    ) -> PyResult<Self> {
        if !(1..=1000).contains(&book_depth) {
            let message = format!("book_depth is {book_depth}; expected 1 to 1000 levels a side");
            return Err(PyValueError::new_err(message));
        }
        let policy = Policy {
            enabled: validation,
            strict,
            sanitize,
            max_price_deviation: max_price_deviation / 100.0,
            deviation_confirmations,
            max_clock_skew_ns: max_clock_skew_ms.saturating_mul(1_000_000),
        };
        let config = EngineConfig {
            policy,
            book_depth,
            max_frame_bytes,
            pending: PendingLimits { events: resync_buffer_events, bytes: resync_buffer_bytes },
            max_events: max_pending_events,
            quarantine_bytes,
        };
        Ok(Self { inner: core::Engine::new(hub.inner.clone(), config), words: Vec::new(), tap: None })
    }

    fn add_venue(&mut self, name: &str, rule: &str) -> PyResult<u16> {
        let unknown =
            || PyValueError::new_err(format!("sequence rule {rule:?} of {name}; expected \"spot\" or \"futures\""));
        Ok(self.inner.add_venue(name, Rule::from_name(rule).ok_or_else(unknown)?))
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (venue, symbol, *, price_scale = 0, quantity_scale = 0, ring_bytes = 262_144, needs_book = true))]
    fn add_instrument(
        &mut self,
        venue: u16,
        symbol: &str,
        price_scale: u8,
        quantity_scale: u8,
        ring_bytes: usize,
        needs_book: bool,
    ) -> PyResult<u32> {
        let scales = Scales { price: price_scale.min(MAX_SCALE), quantity: quantity_scale.min(MAX_SCALE) };
        let number = self.inner.add_instrument(venue, symbol, scales, ring_bytes, needs_book);
        number.ok_or_else(|| {
            PyValueError::new_err(format!(
                "{symbol} cannot be added to venue {venue}: unknown venue, or it has topics already"
            ))
        })
    }

    fn remove_instrument(&mut self, instrument: u32) -> PyResult<()> {
        self.at(instrument)?;
        self.inner.remove_instrument(instrument);
        Ok(())
    }

    fn want_book(&mut self, instrument: u32, wanted: bool) -> PyResult<()> {
        self.at(instrument)?;
        self.inner.want_book(instrument, wanted);
        Ok(())
    }

    fn enable_depth(&mut self, instrument: u32, depth: usize) -> PyResult<u32> {
        self.at(instrument)?;
        let full = || PyOverflowError::new_err("there is no room for another topic");
        self.inner.enable_depth(instrument, depth, now_ns()).ok_or_else(full)
    }

    fn record(&mut self, tap: Option<&crate::tap::Tap>) {
        self.tap = tap.map(|tap| Arc::clone(&tap.inner));
    }

    fn open_connection(&mut self, venue: u16) -> PyResult<u32> {
        let unknown = || PyKeyError::new_err(format!("there is no venue {venue}"));
        self.inner.open_connection(venue).ok_or_else(unknown)
    }

    fn close_connection(&mut self, connection: u32) {
        self.inner.close_connection(connection);
    }

    fn on_frame(&mut self, connection: u32, recv_ns: i64, frame: &Bound<'_, PyAny>) -> PyResult<u32> {
        with_bytes(frame, |bytes| self.take(connection, recv_ns, bytes))
    }

    fn on_frames(&mut self, connection: u32, recv_ns: Vec<i64>, frames: Vec<Bound<'_, PyBytes>>) -> PyResult<u32> {
        if recv_ns.len() != frames.len() {
            let message = format!("{} receive times for {} frames; expected one each", recv_ns.len(), frames.len());
            return Err(PyValueError::new_err(message));
        }
        let pairs = recv_ns.into_iter().zip(&frames);
        Ok(pairs.fold(0, |bits, (recv_ns, frame)| bits | self.take(connection, recv_ns, frame.as_bytes())))
    }

    #[pyo3(signature = (instrument, recv_ns, body, *, limit = 1000))]
    fn on_snapshot(&mut self, instrument: u32, recv_ns: i64, body: &Bound<'_, PyAny>, limit: usize) -> PyResult<u32> {
        self.at(instrument)?;
        with_bytes(body, |bytes| self.inner.on_snapshot(instrument, recv_ns, bytes, limit))
    }

    #[pyo3(signature = (instrument, reason, *, book = true, at_ns = None))]
    fn desync(&mut self, instrument: u32, reason: &str, book: bool, at_ns: Option<i64>) -> PyResult<()> {
        self.at(instrument)?;
        let reason = known_reason(reason);
        let at_ns = at_ns.unwrap_or_else(now_ns);
        self.inner.with_instrument(instrument, |instrument, words| {
            if book {
                instrument.desync(reason, at_ns, words);
            } else {
                instrument.note_reconnect();
            }
        });
        Ok(())
    }

    #[pyo3(signature = (instrument, stale, *, at_ns = None))]
    fn mark_stale(&mut self, instrument: u32, stale: bool, at_ns: Option<i64>) -> PyResult<()> {
        self.at(instrument)?;
        let at_ns = at_ns.unwrap_or_else(now_ns);
        self.inner.with_instrument(instrument, |instrument, words| instrument.mark_stale(stale, at_ns, words));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (instrument, data_type, count, first_id, last_id, reason, repaired = false))]
    fn report_gap(
        &mut self,
        instrument: u32,
        data_type: i32,
        count: u64,
        first_id: u64,
        last_id: u64,
        reason: &str,
        repaired: bool,
    ) -> PyResult<()> {
        self.at(instrument)?;
        let reason = (1..=6).filter_map(GapReason::from_u64).find(|known| known.name() == reason);
        let reason =
            reason.ok_or_else(|| PyValueError::new_err("unknown gap reason; see GapMark in docs/reference/grpc.md"))?;
        self.inner.with_instrument(instrument, |instrument, _| {
            instrument.report_gap(now_ns(), data_type, count, first_id, last_id, reason, repaired);
        });
        Ok(())
    }

    fn take_events<'py>(&mut self, py: Python<'py>) -> Vec<EventRow<'py>> {
        let number = |handle: Option<u32>| handle.map_or(-1, i64::from);
        let row = |event: raven_core::events::Event| {
            let raw = PyBytes::new(py, &event.raw);
            (event.name, number(event.connection), number(event.instrument), event.reason, event.number, raw)
        };
        self.inner.take_events().into_iter().map(row).collect()
    }

    fn instrument(&self, venue: u16, symbol: &str) -> Option<u32> {
        self.inner.find(venue, symbol)
    }

    fn counters<'py>(&self, py: Python<'py>, instrument: u32) -> PyResult<Bound<'py, PyDict>> {
        let instrument = self.at(instrument)?;
        let mut counters = instrument.counters;
        counters.unknown_removals = instrument.book().unknown_removals();
        dictionary(py, counters.named())
    }

    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dictionary(py, self.inner.totals().named())
    }

    fn rejects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dictionary(py, self.inner.rejects().named())
    }

    fn unknown_events(&self) -> Vec<(String, u64)> {
        let text = |(name, count): (&Vec<u8>, &u64)| (String::from_utf8_lossy(name).into_owned(), *count);
        self.inner.unknown_events().iter().map(text).collect()
    }

    fn state(&self, instrument: u32) -> PyResult<&'static str> {
        Ok(self.at(instrument)?.state_name())
    }

    fn last_seen(&self, instrument: u32) -> PyResult<(i64, i64, i64, i64, i64, i64)> {
        let seen = self.at(instrument)?.last_seen;
        Ok((seen.book, seen.trade, seen.quote, seen.candle, seen.funding, seen.liquidation))
    }

    #[pyo3(signature = (instrument = None))]
    fn latency(&self, instrument: Option<u32>) -> (Vec<u64>, f64) {
        let histogram = self.inner.latency(instrument);
        (histogram.counts().to_vec(), histogram.sum_ns() as f64 / 1_000.0)
    }

    #[staticmethod]
    fn latency_bounds() -> Vec<f64> {
        Histogram::bounds_ns().map(|bound| bound / 1_000.0).collect()
    }

    #[pyo3(signature = (instrument, depth = 0))]
    fn canonical<'py>(&self, py: Python<'py>, instrument: u32, depth: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut text = Vec::new();
        self.at(instrument)?.book().canonical(depth, &mut text);
        Ok(PyBytes::new(py, &text))
    }

    fn book<'py>(&self, py: Python<'py>, instrument: u32) -> PyResult<Bound<'py, PyDict>> {
        let book = self.at(instrument)?.book();
        let scales = book.scales();
        let dict = dictionary(
            py,
            [
                ("update_id", book.update_id()),
                ("bids", book.bids().len() as u64),
                ("asks", book.asks().len() as u64),
                ("price_scale", u64::from(scales.price)),
                ("quantity_scale", u64::from(scales.quantity)),
                ("bytes", book.bytes() as u64),
            ],
        )?;
        let (low, high) = book.proven();
        dict.set_item("proven_low", low)?;
        dict.set_item("proven_high", high)?;
        Ok(dict)
    }

    fn snapshot<'py>(&mut self, py: Python<'py>, instrument: u32) -> PyResult<Bound<'py, PyBytes>> {
        self.at(instrument)?;
        let Self { inner, words, .. } = self;
        words.clear();
        if let Some(instrument) = inner.instrument(instrument) {
            instrument.write_snapshot(words);
        }
        PyBytes::new_with(py, words.len() * 8, |bytes| {
            for (chunk, word) in bytes.chunks_exact_mut(8).zip(words.iter()) {
                chunk.copy_from_slice(&word.to_ne_bytes());
            }
            Ok(())
        })
    }
}
