//! Requests that wait for policy, and the answers on their way back.
//!
//! The serve thread pushes, policy threads take ([`Calls::next`]) and answer ([`Calls::answer`]). The queue is bounded:
//! beyond it requests are refused, except for `stream_closed`, of which there is one per stream and no second chance.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tonic::Status;

use crate::past::{pieces, Answering, Encoded, Pieces, Pushed};

/// A request that policy must look at.
#[derive(Debug)]
pub struct Call {
    /// What to answer with; 0 when no answer is expected.
    pub call_id: u64,
    /// A unary call by its name (`Subscribe`, `StartCollection`, …) or what happened on a stream: `stream_opened`,
    /// `stream_message` (of `StreamMarketData`), `stream_request` (of `MarketData.Subscribe`) or `stream_closed`.
    pub method: &'static str,
    /// The stream it belongs to, 0 for unary calls.
    pub stream_id: u64,
    /// Address of the client.
    pub peer: Arc<str>,
    /// The serialized request, or why a stream was closed.
    pub payload: Bytes,
    /// How many calls of this stream wait; counted down when this one is taken.
    pub(crate) waiting: Option<Arc<AtomicU32>>,
}

/// An answer, or the reason why there is none.
pub(crate) type Answer = Result<Bytes, Status>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Calls {
    queue: Mutex<Queue>,
    arrived: Condvar,
    capacity: usize,
    awaited: Mutex<Awaited>,
}

#[derive(Debug, Default)]
struct Queue {
    calls: VecDeque<Call>,
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct Awaited {
    last_id: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    /// Calls that are answered with many messages.
    pieces: HashMap<u64, Answering>,
}

impl Calls {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { queue: Mutex::default(), arrived: Condvar::new(), capacity, awaited: Mutex::default() }
    }

    /// Queue a call; false when the queue is full and `is_urgent` is not set, or policy has stopped listening.
    pub(crate) fn push(&self, call: Call, is_urgent: bool) -> bool {
        let mut queue = lock(&self.queue);
        if queue.is_stopped || (queue.calls.len() >= self.capacity && !is_urgent) {
            return false;
        }
        if let Some(waiting) = &call.waiting {
            waiting.fetch_add(1, Ordering::Relaxed);
        }
        queue.calls.push_back(call);
        drop(queue);
        self.arrived.notify_one();
        true
    }

    /// Take the next call; `None` when none comes in time, or nothing is left after a stop.
    pub(crate) fn next(&self, timeout: Duration) -> Option<Call> {
        let deadline = Instant::now().checked_add(timeout);
        let mut queue = lock(&self.queue);
        loop {
            if let Some(call) = queue.calls.pop_front() {
                if let Some(waiting) = &call.waiting {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
                return Some(call);
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if queue.is_stopped || left.is_zero() {
                return None;
            }
            queue = self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Give out an id and where its answer will arrive.
    pub(crate) fn expect_answer(&self) -> (u64, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut awaited = lock(&self.awaited);
        awaited.last_id += 1;
        let id = awaited.last_id;
        awaited.answers.insert(id, sender);
        (id, receiver)
    }

    /// Give out an id and where the many messages of its answer will arrive.
    pub(crate) fn expect_pieces(&self) -> (u64, Pieces) {
        let (answering, pieces) = pieces();
        let mut awaited = lock(&self.awaited);
        awaited.last_id += 1;
        let id = awaited.last_id;
        awaited.pieces.insert(id, answering);
        (id, pieces)
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn forget(&self, call_id: u64) {
        let mut awaited = lock(&self.awaited);
        awaited.answers.remove(&call_id);
        awaited.pieces.remove(&call_id);
    }

    /// Push a piece of an answer, waiting for room.
    pub(crate) fn push_piece(&self, call_id: u64, frames: Encoded, timeout: Duration) -> Pushed {
        let answering = lock(&self.awaited).pieces.get(&call_id).cloned();
        answering.map_or(Pushed::Gone, |answering| answering.push(frames, timeout))
    }

    /// Deliver an answer; false when nobody waits for it.
    pub(crate) fn answer(&self, call_id: u64, answer: Answer) -> bool {
        let mut awaited = lock(&self.awaited);
        if let Some(answering) = awaited.pieces.remove(&call_id) {
            // One message is no answer here, so what comes is how it ends.
            answering.end(answer.err().unwrap_or_else(|| Status::ok("")));
            return true;
        }
        let waiting = awaited.answers.remove(&call_id);
        waiting.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Let everyone who waits for calls go.
    pub(crate) fn stop(&self) {
        lock(&self.queue).is_stopped = true;
        self.arrived.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
