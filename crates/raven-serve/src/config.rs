//! What a server and a subscription can be told.

use std::{fmt, str::FromStr, time::Duration};

/// How a server behaves; the defaults are those of a laptop.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on, 0 for a free one.
    pub port: u16,
    /// Connections that are served, and streams. What comes beyond is told so with RESOURCE_EXHAUSTED.
    pub max_connections: usize,
    /// Longest request message, bytes.
    pub max_message_bytes: usize,
    /// Requests that one connection may have open at once.
    pub max_streams_per_connection: u32,
    /// Field `producer` of every message.
    pub producer: String,
    /// Silence after which a peer is asked whether it still lives, and how long a new one may take to say hello.
    pub keepalive: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// Certificates; `None` serves plain text.
    pub tls: Option<Tls>,
    /// Bearer token that every call but health must carry.
    pub token: Option<String>,
    /// Never sleep: lower latency for a whole core.
    pub busy_poll: bool,
    /// Core to stay on.
    pub cpu: Option<usize>,
    /// Calls that may wait for policy.
    pub max_waiting_calls: usize,
    /// Calls of one stream that may wait, so that one client cannot fill the queue.
    pub max_waiting_calls_per_stream: u32,
    /// How long policy may take to answer a call.
    pub reply_timeout: Duration,
    /// Encoded messages that are kept for slow readers, bytes over all topics.
    pub log_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 50051,
            max_connections: 1000,
            max_message_bytes: 4 << 20,
            max_streams_per_connection: 100,
            producer: "raven".into(),
            keepalive: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(10),
            tls: None,
            token: None,
            busy_poll: false,
            cpu: None,
            max_waiting_calls: 4096,
            max_waiting_calls_per_stream: 256,
            reply_timeout: Duration::from_secs(30),
            log_bytes: 256 << 20,
        }
    }
}

/// Certificates, PEM.
#[derive(Clone)]
pub struct Tls {
    /// Certificate chain of the server.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// Authorities whose client certificates are asked for and accepted; `None` asks for none.
    pub client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_ca", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

/// How a stream reads a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Levels per side of a book, 0 for all that the topic has.
    pub depth: u16,
    /// Shortest time between two states of a book or a quote, ms; 0 sends every one. Ignored for everything else.
    pub conflate_ms: u64,
    /// What happens when the reader is too slow.
    pub overflow: Overflow,
    /// Start with the newest record (flagged as snapshot) instead of waiting for the next.
    pub from_latest: bool,
}

impl Default for Attach {
    fn default() -> Self {
        Self { depth: 0, conflate_ms: 0, overflow: Overflow::Gap, from_latest: true }
    }
}

/// What happens to a reader that is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It gets a gap mark with the exact count and goes on.
    Gap,
    /// Books and quotes jump to the newest state, flagged as skipped; everything else behaves as `Gap`.
    Conflate,
    /// Its stream ends with RESOURCE_EXHAUSTED and the last sequence that it was sent.
    Disconnect,
}

/// A word that is no overflow policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOverflow(String);

impl fmt::Display for UnknownOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overflow policy {:?} is unknown; use gap, conflate or disconnect", self.0)
    }
}

impl std::error::Error for UnknownOverflow {}

impl FromStr for Overflow {
    type Err = UnknownOverflow;

    fn from_str(text: &str) -> Result<Self, UnknownOverflow> {
        match text {
            "gap" => Ok(Self::Gap),
            "conflate" => Ok(Self::Conflate),
            "disconnect" => Ok(Self::Disconnect),
            other => Err(UnknownOverflow(other.to_owned())),
        }
    }
}
