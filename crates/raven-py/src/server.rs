//! The gRPC server's Python face. Every method lets go of the interpreter lock before it waits for anything.

use std::time::Duration;

use pyo3::exceptions::{PyKeyError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyDictMethods};
use raven_serve::{Attach, Config, Overflow, Pushed, Server, StartError, Tls};

use crate::encoded::Encoded;
use crate::hub::Hub;

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct GrpcServer {
    inner: Server,
}

/// `(stream_id, peer, topics, messages_sent, messages_lost, lag)`.
type StreamRow = (u64, String, usize, u64, u64, u64);

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{name} is {value}; expected a number of seconds from 0 up")))
}

fn outcome(pushed: Pushed) -> PyResult<bool> {
    match pushed {
        Pushed::Taken => Ok(true),
        Pushed::Gone => Ok(false),
        Pushed::TooSlow => Err(PyTimeoutError::new_err("the client does not take what was sent before")),
    }
}

#[pymethods]
impl GrpcServer {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (
        hub, *, host = "127.0.0.1", port = 50051, max_connections = 1000, max_message_bytes = 4_194_304,
        max_streams_per_connection = 100, producer = "raven", keepalive_seconds = 10.0,
        keepalive_timeout_seconds = 10.0, tls_certificate = None, tls_key = None, tls_client_ca = None, token = None,
        busy_poll = false, cpu = None,
    ))]
    fn new(
        hub: &Hub,
        host: &str,
        port: u16,
        max_connections: usize,
        max_message_bytes: usize,
        max_streams_per_connection: u32,
        producer: &str,
        keepalive_seconds: f64,
        keepalive_timeout_seconds: f64,
        tls_certificate: Option<Vec<u8>>,
        tls_key: Option<Vec<u8>>,
        tls_client_ca: Option<Vec<u8>>,
        token: Option<String>,
        busy_poll: bool,
        cpu: Option<usize>,
    ) -> PyResult<Self> {
        let tls = match (tls_certificate, tls_key) {
            (Some(certificate), Some(key)) => Some(Tls { certificate, key, client_ca: tls_client_ca }),
            (None, None) => None,
            _ => return Err(PyValueError::new_err("TLS needs both a certificate and a key; one of them is missing")),
        };
        let config = Config {
            host: host.into(),
            port,
            max_connections,
            max_message_bytes,
            max_streams_per_connection,
            producer: producer.into(),
            keepalive: seconds("keepalive_seconds", keepalive_seconds)?,
            keepalive_timeout: seconds("keepalive_timeout_seconds", keepalive_timeout_seconds)?,
            tls,
            token,
            busy_poll,
            cpu,
            ..Config::default()
        };
        Ok(Self { inner: Server::new(hub.inner.clone(), config) })
    }

    fn start(&self, py: Python<'_>) -> PyResult<u16> {
        py.detach(|| self.inner.start()).map_err(|error| match error {
            StartError::Bind { .. } => PyOSError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        })
    }

    fn next_call(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<Option<Call>> {
        let timeout = seconds("timeout_seconds", timeout_seconds)?;
        Ok(py.detach(|| self.inner.next_call(timeout)).map(|inner| Call { inner }))
    }

    fn reply(&self, py: Python<'_>, call_id: u64, payload: &[u8]) {
        let payload = payload.to_vec();
        py.detach(|| self.inner.reply(call_id, payload));
    }

    fn fail(&self, py: Python<'_>, call_id: u64, code: i32, message: &str) {
        py.detach(|| self.inner.fail(call_id, code, message));
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (stream_id, topic_id, *, depth = 0, conflate_ms = 0, overflow = "gap", from_latest = true))]
    fn attach(
        &self,
        py: Python<'_>,
        stream_id: u64,
        topic_id: u32,
        depth: u16,
        conflate_ms: u64,
        overflow: &str,
        from_latest: bool,
    ) -> PyResult<bool> {
        let overflow: Overflow = overflow.parse().map_err(|error| PyValueError::new_err(format!("{error}")))?;
        let options = Attach { depth, conflate_ms, overflow, from_latest };
        py.detach(|| self.inner.attach(stream_id, topic_id, options))
            .map_err(|_| PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()")))
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (stream_id, topic_id, after, *, depth = 0, conflate_ms = 0, overflow = "gap"))]
    fn resume(
        &self,
        py: Python<'_>,
        stream_id: u64,
        topic_id: u32,
        after: u64,
        depth: u16,
        conflate_ms: u64,
        overflow: &str,
    ) -> PyResult<bool> {
        let overflow: Overflow = overflow.parse().map_err(|error| PyValueError::new_err(format!("{error}")))?;
        let options = Attach { depth, conflate_ms, overflow, from_latest: false };
        py.detach(|| self.inner.resume(stream_id, topic_id, options, after))
            .map_err(|_| PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()")))
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (stream_id, topic_id, after, recv_ns, *, depth = 0, conflate_ms = 0, overflow = "gap"))]
    fn take_up(
        &self,
        py: Python<'_>,
        stream_id: u64,
        topic_id: u32,
        after: u64,
        recv_ns: i64,
        depth: u16,
        conflate_ms: u64,
        overflow: &str,
    ) -> PyResult<bool> {
        let overflow: Overflow = overflow.parse().map_err(|error| PyValueError::new_err(format!("{error}")))?;
        let options = Attach { depth, conflate_ms, overflow, from_latest: false };
        py.detach(|| self.inner.take_up(stream_id, topic_id, options, after, recv_ns))
            .map_err(|_| PyKeyError::new_err(format!("there is no topic {topic_id}; see Hub.topics()")))
    }

    #[pyo3(signature = (stream_id, frames, timeout_seconds))]
    fn push(&self, py: Python<'_>, stream_id: u64, frames: &Encoded, timeout_seconds: f64) -> PyResult<bool> {
        let timeout = seconds("timeout_seconds", timeout_seconds)?;
        let frames = frames.inner.clone();
        outcome(py.detach(|| self.inner.push(stream_id, frames, timeout)))
    }

    #[pyo3(signature = (call_id, frames, timeout_seconds))]
    fn reply_piece(&self, py: Python<'_>, call_id: u64, frames: &Encoded, timeout_seconds: f64) -> PyResult<bool> {
        let timeout = seconds("timeout_seconds", timeout_seconds)?;
        let frames = frames.inner.clone();
        outcome(py.detach(|| self.inner.reply_piece(call_id, frames, timeout)))
    }

    fn detach(&self, py: Python<'_>, stream_id: u64, topic_id: u32) -> bool {
        py.detach(|| self.inner.detach(stream_id, topic_id))
    }

    #[pyo3(signature = (stream_id, *, batch = 1, heartbeat_ms = 0))]
    fn configure_stream(&self, py: Python<'_>, stream_id: u64, batch: usize, heartbeat_ms: u64) -> bool {
        py.detach(|| self.inner.configure_stream(stream_id, batch, heartbeat_ms))
    }

    fn close_stream(&self, py: Python<'_>, stream_id: u64, code: i32, message: &str) -> bool {
        py.detach(|| self.inner.close_stream(stream_id, code, message))
    }

    fn set_serving(&self, py: Python<'_>, serving: bool) {
        py.detach(|| self.inner.set_serving(serving));
    }

    fn streams(&self, py: Python<'_>) -> Vec<StreamRow> {
        let row = |stream: raven_serve::StreamInfo| {
            let (sent, lost) = (stream.messages_sent, stream.messages_lost);
            (stream.stream_id, stream.peer.to_string(), stream.topics, sent, lost, stream.lag)
        };
        py.detach(|| self.inner.streams()).into_iter().map(row).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let stats = py.detach(|| self.inner.stats());
        stats.into_iter().try_for_each(|(name, count)| dict.set_item(name, count))?;
        Ok(dict)
    }

    fn drain(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<bool> {
        let timeout = seconds("timeout_seconds", timeout_seconds)?;
        Ok(py.detach(|| self.inner.drain(timeout)))
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "raven._core")]
pub struct Call {
    inner: raven_serve::Call,
}

#[pymethods]
impl Call {
    #[getter]
    fn call_id(&self) -> u64 {
        self.inner.call_id
    }

    #[getter]
    fn method(&self) -> &'static str {
        self.inner.method
    }

    #[getter]
    fn stream_id(&self) -> u64 {
        self.inner.stream_id
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.inner.peer
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.payload)
    }
}
