//! What policy tells the serve thread: a bounded queue whose reader is a task and whose writers are plain threads.
//!
//! Policy threads send and wait when the queue is full; the pump takes and is woken through its waker.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use raven_core::hub::Topic;
use tonic::Status;

use crate::config::Attach;
use crate::past::Encoded;
use crate::stream::StreamInfo;

/// Commands that may wait.
const CAPACITY: usize = 16_384;

/// What policy can say.
#[derive(Debug)]
pub(crate) enum Command {
    Attach {
        stream_id: u64,
        topic: Arc<Topic>,
        options: Attach,
    },
    /// Read a topic on from behind a sequence; answered with false when records behind it are gone already.
    Resume {
        stream_id: u64,
        topic: Arc<Topic>,
        options: Attach,
        after: u64,
        answer: SyncSender<bool>,
    },
    /// Read a topic on from behind what the client had of it, see [`crate::take_up`]; answered with false when the
    /// stream has gone.
    TakeUp {
        stream_id: u64,
        topic: Arc<Topic>,
        options: Attach,
        after: u64,
        recv_ns: i64,
        answer: SyncSender<bool>,
    },
    Push {
        stream_id: u64,
        frames: Encoded,
    },
    Detach {
        stream_id: u64,
        topic_id: u32,
    },
    Configure {
        stream_id: u64,
        batch: usize,
        heartbeat: Option<Duration>,
    },
    Close {
        stream_id: u64,
        status: Status,
    },
    Serving(bool),
    Streams(SyncSender<Vec<StreamInfo>>),
    Drain,
    Stop,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    queue: Mutex<Queue>,
    has_room: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Command>,
    waker: Option<Waker>,
    is_open: bool,
}

impl Commands {
    /// The serve thread listens.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
    }

    /// The serve thread is gone.
    pub(crate) fn close(&self) {
        *self.lock() = Queue::default();
        self.has_room.notify_all();
    }

    /// Queue a command, waiting for room; false when the serve thread does not listen.
    pub(crate) fn send(&self, command: Command) -> bool {
        let mut queue = self.lock();
        while queue.is_open && queue.commands.len() >= CAPACITY {
            queue = self.has_room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if !queue.is_open {
            return false;
        }
        queue.commands.push_back(command);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Take what is there, or be woken when something is.
    pub(crate) fn take(&self, cx: &Context<'_>, into: &mut VecDeque<Command>) {
        let mut queue = self.lock();
        if queue.commands.is_empty() {
            queue.waker = Some(cx.waker().clone());
            return;
        }
        std::mem::swap(&mut queue.commands, into);
        drop(queue);
        self.has_room.notify_all();
        cx.waker().wake_by_ref();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
