//! What a hub publishes, as commands for Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raven_core::redis as core;

/// See `_core.pyi`.
#[pyclass(module = "raven._core", frozen)]
pub struct RedisFeed {
    inner: Mutex<core::Publications>,
}

/// `(channel, venue, symbol, data_type, published, refused, dropped, unconfirmed, withheld, keys_refused)`.
type ChannelRow = (String, String, String, i32, u64, u64, u64, u64, u64, u64);

/// Waking a thread costs the feed, which rings the bell, more than all else that publishing asks of it: while something
/// comes all the time, it is looked for instead, so often, and for so long after the last that came.
const LOOK: Duration = Duration::from_micros(200);
const LOOKS: u32 = 250;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[pymethods]
impl RedisFeed {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (hub, *, prefix = "", venue = "", depth = 0, max_age_ms = 0, latest_ttl_ms = 0, stream_length = 0))]
    fn new(
        hub: &crate::hub::Hub,
        prefix: &str,
        venue: &str,
        depth: usize,
        max_age_ms: u32,
        latest_ttl_ms: u64,
        stream_length: u64,
    ) -> PyResult<Self> {
        let options = core::Options {
            prefix: prefix.into(),
            venue: venue.into(),
            depth,
            max_age_ns: i64::from(max_age_ms) * 1_000_000,
            latest_ttl_ms,
            stream_length,
        };
        let inner = core::Publications::new(Arc::clone(&hub.inner), options);
        let inner = inner.ok_or_else(|| PyRuntimeError::new_err("the hub has no room for one more listener"))?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn follow(&self, py: Python<'_>) {
        py.detach(|| self.lock().follow());
    }

    fn wait(&self, py: Python<'_>, timeout_seconds: f64) -> bool {
        let timeout = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        py.detach(|| {
            if self.lock().has_backlog() {
                return true;
            }
            for _ in 0..LOOKS {
                thread::sleep(LOOK);
                if self.lock().is_due() {
                    return true;
                }
            }
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            if self.lock().may_sleep(&waker) {
                thread::park_timeout(timeout);
            }
            let feed = self.lock();
            feed.awake();
            feed.is_due()
        })
    }

    fn take<'py>(&self, py: Python<'py>, now_ns: i64, max_bytes: usize) -> Bound<'py, PyBytes> {
        let commands = py.detach(|| {
            let mut commands = Vec::new();
            self.lock().take(now_ns, max_bytes, &mut commands);
            commands
        });
        PyBytes::new(py, &commands)
    }

    fn skip(&self, py: Python<'_>, now_ns: i64) {
        py.detach(|| self.lock().skip(now_ns));
    }

    fn confirm(&self, py: Python<'_>, replies: &[u8]) -> PyResult<usize> {
        py.detach(|| self.lock().confirm(replies)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn abandon(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().abandon())
    }

    fn channels(&self, py: Python<'_>) -> Vec<ChannelRow> {
        let row = |channel: &core::Channel| {
            let (venue, symbol, counts) = (channel.venue.to_string(), channel.symbol.to_string(), channel.counts);
            (
                channel.name.clone(),
                venue,
                symbol,
                channel.data_type,
                counts.published,
                counts.refused,
                counts.dropped,
                counts.unconfirmed,
                counts.withheld,
                counts.keys_refused,
            )
        };
        py.detach(|| self.lock().channels().iter().map(row).collect())
    }

    #[getter]
    fn refusals(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().refusals())
    }

    #[getter]
    fn last_refusal(&self, py: Python<'_>) -> String {
        py.detach(|| self.lock().last_refusal().to_owned())
    }
}

impl RedisFeed {
    /// Never with the interpreter lock: who holds this one may be waiting for nothing else, but never long.
    fn lock(&self) -> MutexGuard<'_, core::Publications> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
