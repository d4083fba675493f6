//! One topic at one depth: its messages, encoded once, waiting for whoever reads them.
//!
//! The pump appends, bodies read; both live on the serve thread. Messages are kept as finished gRPC frames in chunks
//! of about [`CHUNK_BYTES`], so a stream that wants no more than what everyone gets is sent whole chunks without a look
//! inside. A chunk is dropped when the last reader has it, or when the log is full; a reader whose chunk was dropped
//! has been overrun, and [`crate::stream`] decides what that means for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use raven_core::encode::{put_flags, Encoder};
use raven_core::hub::Topic;
use raven_core::record::{data_type, flags, Header, Kind};

use crate::frame::{close_frame, frame_len, PREFIX_BYTES};

/// A chunk is closed when it is this long: one HTTP/2 frame of the default size.
pub(crate) const CHUNK_BYTES: usize = 16 << 10;
/// What a chunk costs besides its bytes.
const CHUNK_OVERHEAD: usize = 128;

/// Some messages of a channel in a row.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// The frames.
    pub(crate) bytes: Bytes,
    /// How many there are.
    pub(crate) messages: u64,
    /// Sequence that a reader has reached before this chunk.
    pub(crate) before: u64,
    /// Sequence that a reader has reached after it.
    pub(crate) after: u64,
    /// Flags of the first message.
    pub(crate) first_flags: u32,
    /// Where the last message starts.
    last_at: usize,
    /// Flags of the last message.
    last_flags: u32,
    /// Whether a gap mark is among the messages.
    has_gap: bool,
    /// Marks among them that this server made, because the pump was lapped.
    pub(crate) marks: u64,
    /// Records that these marks stand for.
    pub(crate) lost: u64,
    /// When the pump closed it.
    pub(crate) born: Instant,
}

impl Chunk {
    /// The first frame, and the rest.
    pub(crate) fn split_first(&self) -> (&[u8], Bytes) {
        let length = frame_len(&self.bytes);
        (&self.bytes[..length], self.bytes.slice(length..))
    }
}

/// How a channel tells a stream that there is something new.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// Topics with something new, in the order of arrival.
    pub(crate) ready: RefCell<VecDeque<u32>>,
    waker: RefCell<Option<Waker>>,
    is_woken: Cell<bool>,
    /// How many streams were woken and have not run yet; the pump lets them.
    woken: Rc<Cell<usize>>,
}

impl Signal {
    /// A signal that counts itself in `woken` between waking and running.
    pub(crate) fn new(woken: &Rc<Cell<usize>>) -> Self {
        Self { woken: Rc::clone(woken), ..Self::default() }
    }

    /// Put a topic in line and wake the stream.
    pub(crate) fn raise(&self, topic: u32) {
        self.ready.borrow_mut().push_back(topic);
        self.wake();
    }

    /// Wake the stream, if it waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            if !self.is_woken.replace(true) {
                self.woken.set(self.woken.get() + 1);
            }
            waker.wake();
        }
    }

    /// The stream runs, or never will again.
    pub(crate) fn runs(&self) {
        if self.is_woken.replace(false) {
            self.woken.set(self.woken.get() - 1);
        }
    }

    /// Wait to be woken.
    pub(crate) fn wait(&self, waker: &Waker) {
        self.runs();
        *self.waker.borrow_mut() = Some(waker.clone());
    }
}

/// A stream's place in a channel.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) topic: u32,
    pub(crate) signal: Rc<Signal>,
    /// In the stream's line already.
    pub(crate) is_queued: Cell<bool>,
    /// Has not yet read all there is.
    pub(crate) is_behind: Cell<bool>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) topic: std::sync::Arc<Topic>,
    pub(crate) encoder: Encoder,
    pub(crate) depth: usize,
    open: Vec<u8>,
    open_chunk: Chunk,
    log: VecDeque<Chunk>,
    /// Number of the first chunk in the log.
    first: u64,
    bytes: usize,
    /// Sequence of the newest message.
    pub(crate) sequence: u64,
    is_after_gap: bool,
    subscribers: Vec<Rc<Subscriber>>,
    behind: usize,
    /// Bytes encoded since the pump last asked.
    fresh: usize,
}

impl Channel {
    /// A channel that goes on after `sequence`.
    pub(crate) fn new(topic: std::sync::Arc<Topic>, depth: usize, producer: &str, sequence: u64) -> Self {
        let key = topic.key();
        let encoder = Encoder::new(&key.venue, &key.symbol, key.data_type, producer);
        Self {
            encoder,
            topic,
            depth,
            open: Vec::new(),
            open_chunk: Chunk {
                bytes: Bytes::new(),
                messages: 0,
                before: 0,
                after: 0,
                first_flags: 0,
                last_at: 0,
                last_flags: 0,
                has_gap: false,
                marks: 0,
                lost: 0,
                born: Instant::now(),
            },
            log: VecDeque::new(),
            first: 0,
            bytes: 0,
            sequence,
            is_after_gap: false,
            subscribers: Vec::new(),
            behind: 0,
            fresh: 0,
        }
    }

    /// Whether a state replaces the one before it, so that skipping is allowed.
    pub(crate) fn is_state(&self) -> bool {
        matches!(self.topic.key().data_type, data_type::ORDERBOOK | data_type::QUOTES)
    }

    /// Encode one record; true when there was a message in it.
    pub(crate) fn append(&mut self, words: &[u64], now: Instant, limit: usize) -> bool {
        let Some(header) = Header::from_words(words) else { return false };
        let at = self.start_message();
        let is_message = self.encoder.encode(words, self.depth, &mut self.open);
        if is_message {
            let mut flags = header.flags;
            if std::mem::take(&mut self.is_after_gap) {
                flags |= flags::AFTER_GAP;
                put_flags(&mut self.open, flags);
            }
            self.end_message(at, header.sequence, flags, header.kind == Kind::Gap, now, limit);
        } else {
            self.open.truncate(at);
            self.sequence = header.sequence;
        }
        is_message
    }

    /// Record that `lost` records up to `sequence` never reached this channel.
    pub(crate) fn append_gap(&mut self, lost: u64, sequence: u64, now: Instant, now_ns: i64, limit: usize) {
        let at = self.start_message();
        self.encoder.encode_slow_reader(lost, sequence, now_ns, &mut self.open);
        self.open_chunk.marks += 1;
        self.open_chunk.lost += lost;
        self.end_message(at, sequence, 0, true, now, limit);
        self.is_after_gap = true;
    }

    fn start_message(&mut self) -> usize {
        let at = self.open.len();
        self.open.extend_from_slice(&[0; PREFIX_BYTES]);
        at
    }

    fn end_message(&mut self, at: usize, sequence: u64, flags: u32, is_gap: bool, now: Instant, limit: usize) {
        close_frame(&mut self.open, at);
        self.fresh += self.open.len() - at;
        let chunk = &mut self.open_chunk;
        if chunk.messages == 0 {
            (chunk.before, chunk.first_flags, chunk.has_gap) = (self.sequence, flags, false);
        }
        chunk.messages += 1;
        (chunk.last_at, chunk.last_flags, chunk.after) = (at, flags, sequence);
        chunk.has_gap |= is_gap;
        self.sequence = sequence;
        if self.open.len() >= CHUNK_BYTES {
            self.close_chunk(now, limit);
        }
    }

    /// Close the open chunk and tell every subscriber; `limit` bounds the bytes that are kept.
    pub(crate) fn close_chunk(&mut self, now: Instant, limit: usize) {
        if self.open_chunk.messages == 0 {
            return;
        }
        let mut chunk = self.open_chunk.clone();
        chunk.bytes = Bytes::copy_from_slice(&self.open);
        chunk.born = now;
        self.open.clear();
        (self.open_chunk.messages, self.open_chunk.marks, self.open_chunk.lost) = (0, 0, 0);
        if self.subscribers.is_empty() {
            return;
        }
        self.bytes += chunk.bytes.len() + CHUNK_OVERHEAD;
        self.log.push_back(chunk);
        while self.bytes > limit && self.log.len() > 1 {
            self.drop_oldest();
        }
        self.behind = self.subscribers.len();
        for subscriber in &self.subscribers {
            subscriber.is_behind.set(true);
            if !subscriber.is_queued.replace(true) {
                subscriber.signal.raise(subscriber.topic);
            }
        }
    }

    /// Bytes encoded since the last call.
    pub(crate) fn take_fresh(&mut self) -> usize {
        std::mem::take(&mut self.fresh)
    }

    /// Number of the chunk that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// A chunk that is still kept.
    pub(crate) fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.log.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Where an overrun reader goes on: three quarters of the log are left, so it has time to catch up.
    pub(crate) fn resume_at(&self) -> u64 {
        self.first + self.log.len() as u64 / 4
    }

    /// The newest message from chunk `from` on, with its flags, for a reader that wants only that.
    pub(crate) fn newest(&self, from: u64) -> Option<(&[u8], u32)> {
        let last = self.log.back()?;
        let pending = self.log.iter().skip(from.saturating_sub(self.first) as usize);
        let (messages, has_gap) =
            pending.fold((0, false), |(count, gap), chunk| (count + chunk.messages, gap | chunk.has_gap));
        let mut newest_flags = last.last_flags;
        if messages > 1 || from < self.first {
            newest_flags |= flags::SKIPPED;
            if has_gap {
                newest_flags |= flags::AFTER_GAP;
            }
        }
        Some((&last.bytes[last.last_at + PREFIX_BYTES..], newest_flags))
    }

    /// Whether nobody reads.
    pub(crate) fn is_unused(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Take a new reader in, at the end.
    pub(crate) fn join(&mut self, subscriber: Rc<Subscriber>) {
        self.topic.add_reader();
        self.subscribers.push(subscriber);
    }

    /// Let a reader go.
    pub(crate) fn leave(&mut self, subscriber: &Rc<Subscriber>) {
        self.topic.remove_reader();
        self.caught_up(subscriber);
        self.subscribers.retain(|other| !Rc::ptr_eq(other, subscriber));
    }

    /// A reader has everything; what everyone has is dropped.
    pub(crate) fn caught_up(&mut self, subscriber: &Subscriber) {
        if subscriber.is_behind.replace(false) {
            self.behind -= 1;
            if self.behind == 0 {
                self.first += self.log.len() as u64;
                self.log.clear();
                self.bytes = 0;
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(chunk) = self.log.pop_front() {
            self.first += 1;
            self.bytes -= chunk.bytes.len() + CHUNK_OVERHEAD;
        }
    }
}
