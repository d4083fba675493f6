//! The past on its way to a client: whole batches of records, encoded at once, handed over piece by piece.
//!
//! Policy reads the journal and pushes pieces; a client takes them as fast as it can. What waits is bounded, so whoever
//! pushes waits with it, on a thread of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raven_core::columns::Columns;
use raven_core::encode::Encoder;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tonic::Status;

use crate::frame::{close_frame, PREFIX_BYTES};

/// What may wait for one client, bytes; a piece that begins below it is taken whole.
const WAITING_BYTES: usize = 1 << 20;
/// How often a pusher looks whether there is room again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Finished gRPC frames in a row.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// The frames.
    pub bytes: Bytes,
    /// How many messages they are.
    pub messages: u64,
}

/// Records as frames. `flags` are added to those of each record; `depth` cuts books, 0 keeps all.
pub fn encode(columns: &Columns, encoder: &Encoder, depth: usize, flags: u32) -> Encoded {
    let (mut bytes, mut record, mut messages) = (Vec::new(), Vec::new(), 0);
    for row in 0..columns.len() {
        columns.record(row, &mut record);
        // The flags of a header stand above the kind: see `raven_core::record::Header::to_words`.
        record[0] |= u64::from(flags) << 40;
        let at = bytes.len();
        bytes.resize(at + PREFIX_BYTES, 0);
        if encoder.encode(&record, depth, &mut bytes) {
            close_frame(&mut bytes, at);
            messages += 1;
        } else {
            bytes.truncate(at);
        }
    }
    Encoded { bytes: bytes.into(), messages }
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be sent.
    Taken,
    /// The client has gone, or the call has ended.
    Gone,
    /// The client did not take what was there before.
    TooSlow,
}

/// How much waits for one client; shared between who pushes and who sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Wait until there is room; false when that takes longer than `timeout` or `is_gone`.
    pub(crate) fn has_room(&self, timeout: Duration, is_gone: impl Fn() -> bool) -> Pushed {
        let since = Instant::now();
        loop {
            if is_gone() {
                return Pushed::Gone;
            }
            if self.0.load(Ordering::Relaxed) < WAITING_BYTES {
                return Pushed::Taken;
            }
            if since.elapsed() >= timeout {
                return Pushed::TooSlow;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The pushing end of a call that is answered with many messages.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    pieces: UnboundedSender<Encoded>,
    waiting: Waiting,
    end: Arc<Mutex<Option<Status>>>,
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: UnboundedReceiver<Encoded>,
    waiting: Waiting,
    end: Arc<Mutex<Option<Status>>>,
}

/// Both ends of an answer in pieces.
pub(crate) fn pieces() -> (Answering, Pieces) {
    // Unbounded as a channel, bounded by `Waiting`, which counts bytes.
    let (sender, receiver) = unbounded_channel();
    let (waiting, end) = (Waiting::default(), Arc::default());
    let answering = Answering { pieces: sender, waiting: waiting.clone(), end: Arc::clone(&end) };
    (answering, Pieces { pieces: receiver, waiting, end })
}

impl Answering {
    /// Push one piece, waiting for room.
    pub(crate) fn push(&self, frames: Encoded, timeout: Duration) -> Pushed {
        let outcome = self.waiting.has_room(timeout, || self.pieces.is_closed());
        if outcome != Pushed::Taken {
            return outcome;
        }
        self.waiting.add(frames.bytes.len());
        if self.pieces.send(frames).is_ok() {
            Pushed::Taken
        } else {
            Pushed::Gone
        }
    }

    /// Say how the answer ends, behind what was pushed.
    pub(crate) fn end(self, status: Status) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

impl Pieces {
    /// The next piece; `Err` with the status at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<Encoded, Status>> {
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(frames) => {
                self.waiting.sent(frames.bytes.len());
                Ok(frames)
            }
            None => {
                let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(end.unwrap_or_else(|| Status::unavailable("the server is shutting down; connect again")))
            }
        })
    }
}
