//! What everything on the serve thread shares. Single-threaded: cells, not locks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raven_core::hub::Hub;
use tokio::sync::watch;
use tonic::Status;

use crate::calls::{Call, Calls};
use crate::commands::Commands;
use crate::config::Config;
use crate::past::Waiting;
use crate::stats::Stats;
use crate::stream::Stream;

/// What the serve thread and policy threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    pub(crate) calls: Calls,
    pub(crate) commands: Commands,
    pub(crate) stats: Stats,
    /// Streams that are open, and how much of the past waits in each; the serve thread writes, policy asks.
    open: Mutex<HashMap<u64, Waiting>>,
}

impl Shared {
    pub(crate) fn new(hub: Arc<Hub>, config: Config) -> Self {
        let calls = Calls::new(config.max_waiting_calls);
        Self { config, hub, calls, commands: Commands::default(), stats: Stats::default(), open: Mutex::default() }
    }

    /// The open streams by number.
    pub(crate) fn open(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    Open,
    /// No new connections and streams; what is there is sent.
    Draining,
    /// Every stream has ended; connections close.
    Closing,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) streams: RefCell<HashMap<u64, Rc<RefCell<Stream>>>>,
    /// Somebody joined or left a topic: the pump shares its memory anew and lets unused topics go.
    pub(crate) topics_changed: Cell<bool>,
    pub(crate) connections: Cell<usize>,
    /// Streams that were woken and have not run yet.
    pub(crate) woken: Rc<Cell<usize>>,
    pub(crate) phase: watch::Sender<Phase>,
    last_stream: Cell<u64>,
}

impl Local {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            streams: RefCell::default(),
            topics_changed: Cell::new(false),
            connections: Cell::new(0),
            woken: Rc::default(),
            phase: watch::Sender::new(Phase::Open),
            last_stream: Cell::new(0),
        }
    }

    /// Open a stream, or say why not.
    pub(crate) fn open(&self, peer: &Arc<str>, waiting: &Arc<AtomicU32>) -> Result<Rc<RefCell<Stream>>, Status> {
        let limit = self.shared.config.max_connections;
        if self.streams.borrow().len() >= limit {
            return Err(Status::resource_exhausted(format!(
                "the server has its {limit} streams (max_connections); try later"
            )));
        }
        let id = self.last_stream.get() + 1;
        let opened = Call {
            call_id: 0,
            method: "stream_opened",
            stream_id: id,
            peer: Arc::clone(peer),
            payload: Bytes::new(),
            waiting: Some(Arc::clone(waiting)),
        };
        let past = Waiting::default();
        self.shared.open().insert(id, past.clone());
        if !self.shared.calls.push(opened, false) {
            self.shared.open().remove(&id);
            return Err(Status::resource_exhausted("too many requests wait for an answer; try later"));
        }
        self.last_stream.set(id);
        let stream = Rc::new(RefCell::new(Stream::new(id, Arc::clone(peer), &self.woken, past)));
        let mut streams = self.streams.borrow_mut();
        streams.insert(id, Rc::clone(&stream));
        self.shared.stats.streams.set(streams.len() as u64);
        Ok(stream)
    }

    /// Let a stream go and tell policy why.
    pub(crate) fn close(&self, stream: &Rc<RefCell<Stream>>, reason: String) {
        let mut stream = stream.borrow_mut();
        let mut streams = self.streams.borrow_mut();
        streams.remove(&stream.id);
        self.shared.stats.streams.set(streams.len() as u64);
        self.shared.open().remove(&stream.id);
        stream.signal.runs();
        for (_, sub) in stream.subs.drain() {
            sub.leave();
        }
        self.topics_changed.set(true);
        let closed = Call {
            call_id: 0,
            method: "stream_closed",
            stream_id: stream.id,
            peer: Arc::clone(&stream.peer),
            payload: reason.into(),
            waiting: None,
        };
        self.shared.calls.push(closed, true);
    }
}
