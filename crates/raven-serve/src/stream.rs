//! One subscriber: its cursors, its options, and what happens when it is too slow.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use raven_core::encode::put_flags;
use raven_core::record::flags;
use tonic::Status;

use crate::channel::{Channel, Signal, Subscriber};
use crate::config::{Attach, Overflow};
use crate::frame::PREFIX_BYTES;
use crate::output::Output;
use crate::past::{Encoded, Waiting};
use crate::stats::Stats;

/// A conflating reader is sent every state as long as it is no older than this when its turn comes.
const FRESH: Duration = Duration::from_millis(250);

/// A stream as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Number of the stream.
    pub stream_id: u64,
    /// Address of the client.
    pub peer: Arc<str>,
    /// Topics that it reads.
    pub topics: usize,
    /// Messages handed to HTTP/2.
    pub messages_sent: u64,
    /// Records that it was too slow to get.
    pub messages_lost: u64,
    /// Records that wait for it, over all topics.
    pub lag: u64,
}

/// A topic that a stream reads.
#[derive(Debug)]
pub(crate) struct Sub {
    pub(crate) channel: Rc<RefCell<Channel>>,
    pub(crate) subscriber: Rc<Subscriber>,
    pub(crate) options: Attach,
    /// Number of the next chunk to send.
    next: u64,
    /// Sequence that the client has reached.
    sequence: u64,
    /// What it gets first.
    snapshot: Option<Vec<u8>>,
    /// Conflation: not before.
    due: Option<Instant>,
    /// How many pieces of the past go before it: it begins where the last of them ends.
    after_pieces: u64,
}

impl Sub {
    /// Join a channel at its end, after `snapshot`.
    pub(crate) fn join(
        channel: &Rc<RefCell<Channel>>,
        signal: &Rc<Signal>,
        options: Attach,
        snapshot: Option<Vec<u8>>,
    ) -> Self {
        let mut joined = channel.borrow_mut();
        let subscriber = Rc::new(Subscriber {
            topic: joined.topic.id(),
            signal: Rc::clone(signal),
            is_queued: Cell::new(snapshot.is_some()),
            is_behind: Cell::new(false),
        });
        if snapshot.is_some() {
            signal.raise(subscriber.topic);
        }
        joined.join(Rc::clone(&subscriber));
        let (next, sequence) = (joined.end(), joined.sequence);
        Self { channel: Rc::clone(channel), subscriber, options, next, sequence, snapshot, due: None, after_pieces: 0 }
    }

    /// Leave the channel.
    pub(crate) fn leave(self) {
        self.channel.borrow_mut().leave(&self.subscriber);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u64,
    pub(crate) peer: Arc<str>,
    pub(crate) signal: Rc<Signal>,
    pub(crate) subs: HashMap<u32, Sub>,
    pub(crate) batch: usize,
    pub(crate) heartbeat: Option<Duration>,
    last_sent: Instant,
    /// Topics held back by `conflate_ms`, or until their past has gone.
    held: Vec<u32>,
    /// The past of topics that are not read yet, or are held until it has gone.
    past: VecDeque<Encoded>,
    /// Pieces of the past that were sent.
    pieces_sent: u64,
    is_turn_of_past: bool,
    waiting: Waiting,
    /// How the stream ends, and whether it is sent first what there is.
    pub(crate) end: Option<(Status, bool)>,
    pub(crate) sent: u64,
    lost: u64,
}

impl Stream {
    pub(crate) fn new(id: u64, peer: Arc<str>, woken: &Rc<Cell<usize>>, waiting: Waiting) -> Self {
        Self {
            id,
            peer,
            signal: Rc::new(Signal::new(woken)),
            subs: HashMap::new(),
            batch: 1,
            heartbeat: None,
            last_sent: Instant::now(),
            held: Vec::new(),
            past: VecDeque::new(),
            pieces_sent: 0,
            is_turn_of_past: true,
            waiting,
            end: None,
            sent: 0,
            lost: 0,
        }
    }

    /// Describe the stream.
    pub(crate) fn info(&self) -> StreamInfo {
        let lag = |sub: &Sub| sub.channel.borrow().sequence.saturating_sub(sub.sequence);
        StreamInfo {
            stream_id: self.id,
            peer: Arc::clone(&self.peer),
            topics: self.subs.len(),
            messages_sent: self.sent,
            messages_lost: self.lost,
            lag: self.subs.values().map(lag).sum(),
        }
    }

    /// End the stream with `status`, after what it can have if `is_flushed`.
    pub(crate) fn end_with(&mut self, status: Status, is_flushed: bool) {
        if self.end.is_none() || !is_flushed {
            self.end = Some((status, is_flushed));
        }
        self.signal.wake();
    }

    /// Send these, too.
    pub(crate) fn push(&mut self, frames: Encoded) {
        if !frames.bytes.is_empty() {
            self.past.push_back(frames);
            self.signal.wake();
        }
    }

    /// Hold a topic until everything pushed so far has gone.
    pub(crate) fn hold_behind_past(&mut self, topic: u32) {
        let pieces = self.pieces_sent + self.past.len() as u64;
        if let Some(sub) = self.subs.get_mut(&topic) {
            sub.after_pieces = pieces;
        }
    }

    /// Gather what the client gets next.
    pub(crate) fn fill(&mut self, now: Instant, stats: &Stats) -> Output {
        let mut output = Output::new(self.batch);
        if matches!(self.end, Some((_, false))) {
            return output;
        }
        // Past and present take turns: a long past of one topic does not cost the others a gap.
        if std::mem::replace(&mut self.is_turn_of_past, true) {
            self.fill_past(&mut output);
        }
        self.release_held(now);
        while !output.is_full() {
            let Some(topic) = self.signal.ready.borrow_mut().pop_front() else { break };
            let is_draining = self.end.is_some();
            let Some(sub) = self.subs.get_mut(&topic) else { continue };
            if sub.after_pieces > self.pieces_sent {
                self.held.push(topic);
                continue;
            }
            match fill_sub(sub, &mut output, now, is_draining, stats) {
                Filled::All => sub.subscriber.is_queued.set(false),
                Filled::Part => self.signal.ready.borrow_mut().push_back(topic),
                Filled::Held => self.held.push(topic),
                Filled::Gap { lost, is_all } => {
                    self.lost += lost;
                    if is_all {
                        sub.subscriber.is_queued.set(false);
                    } else {
                        self.signal.ready.borrow_mut().push_front(topic);
                    }
                }
                Filled::End(status) => {
                    self.end = Some((status, false));
                    break;
                }
            }
        }
        if output.messages == 0 {
            self.fill_past(&mut output);
        }
        let is_silent = self.heartbeat.is_some_and(|after| now.saturating_duration_since(self.last_sent) >= after);
        if output.messages > 0 {
            self.last_sent = now;
        } else if is_silent && self.end.is_none() {
            self.last_sent = now;
            output.put_heartbeat();
        }
        self.sent += output.messages;
        output
    }

    fn fill_past(&mut self, output: &mut Output) {
        while !output.is_full() {
            let Some(frames) = self.past.pop_front() else { break };
            self.pieces_sent += 1;
            self.waiting.sent(frames.bytes.len());
            output.put_frames(frames.bytes, frames.messages);
            self.is_turn_of_past = false;
        }
    }

    /// When `fill` must be called again even if nothing is published.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.map(|after| self.last_sent + after);
        let held = self.held.iter().filter_map(|topic| self.subs.get(topic)?.due).min();
        heartbeat.into_iter().chain(held).min()
    }

    fn release_held(&mut self, now: Instant) {
        let (subs, signal, is_draining) = (&self.subs, &self.signal, self.end.is_some());
        self.held.retain(|topic| {
            let is_due = subs.get(topic).is_none_or(|sub| is_draining || sub.due.is_none_or(|due| due <= now));
            if is_due {
                signal.ready.borrow_mut().push_back(*topic);
            }
            !is_due
        });
    }
}

/// How far one topic got.
enum Filled {
    /// The client has everything.
    All,
    /// There is more than fits.
    Part,
    /// Its interval is not over.
    Held,
    /// The client was told of a gap.
    Gap { lost: u64, is_all: bool },
    /// The stream must end.
    End(Status),
}

fn fill_sub(sub: &mut Sub, output: &mut Output, now: Instant, is_draining: bool, stats: &Stats) -> Filled {
    if let Some(snapshot) = sub.snapshot.take() {
        output.put_message(&snapshot);
        sub.due = interval(sub).map(|interval| now + interval);
    }
    let shared = Rc::clone(&sub.channel);
    let mut channel = shared.borrow_mut();
    let end = channel.end();
    if sub.next < end && channel.is_state() {
        let is_held = sub.due.is_some_and(|due| now < due) && !is_draining;
        if sub.options.conflate_ms > 0 && is_held {
            return Filled::Held;
        }
        let is_late = sub.options.overflow == Overflow::Conflate
            && channel.chunk(sub.next).is_none_or(|chunk| now.saturating_duration_since(chunk.born) > FRESH);
        if sub.options.conflate_ms > 0 || is_late {
            if let Some((message, newest_flags)) = channel.newest(sub.next) {
                output.put_message(&with_flags(message, newest_flags));
            }
            stats.skipped.add((channel.sequence - sub.sequence).saturating_sub(1));
            sub.due = interval(sub).map(|interval| now + interval);
            sub.next = end;
        }
    }
    let mut lost = 0;
    if sub.next < end && channel.chunk(sub.next).is_none() {
        let resume = channel.resume_at();
        let Some(chunk) = channel.chunk(resume) else { return Filled::All };
        lost = chunk.before.saturating_sub(sub.sequence);
        if sub.options.overflow == Overflow::Disconnect {
            let key = channel.topic.key();
            return Filled::End(Status::resource_exhausted(format!(
                "too slow for {} {} (data type {}): {lost} records lost after sequence {}; read faster, subscribe to less, \
                 or choose overflow gap or conflate",
                key.venue, key.symbol, key.data_type, sub.sequence
            )));
        }
        let mut mark = Vec::new();
        channel.encoder.encode_slow_reader(lost, chunk.before, unix_ns(), &mut mark);
        output.put_message(&mark);
        let (first, rest) = chunk.split_first();
        output.put_message(&with_flags(&first[PREFIX_BYTES..], chunk.first_flags | flags::AFTER_GAP));
        if !rest.is_empty() {
            output.put_frames(rest, chunk.messages - 1);
        }
        lost += chunk.lost;
        stats.gap_marks.add(1 + chunk.marks);
        sub.sequence = chunk.after;
        sub.next = resume + 1;
    }
    while sub.next < end && !output.is_full() {
        let Some(chunk) = channel.chunk(sub.next) else { break };
        output.put_chunk(chunk);
        lost += chunk.lost;
        stats.gap_marks.add(chunk.marks);
        sub.sequence = chunk.after;
        sub.next += 1;
    }
    stats.lost.add(lost);
    let is_all = sub.next >= end;
    if is_all {
        sub.sequence = channel.sequence;
        channel.caught_up(&sub.subscriber);
    }
    match (lost, is_all) {
        (0, true) => Filled::All,
        (0, false) => Filled::Part,
        (lost, is_all) => Filled::Gap { lost, is_all },
    }
}

fn interval(sub: &Sub) -> Option<Duration> {
    (sub.options.conflate_ms > 0).then(|| Duration::from_millis(sub.options.conflate_ms))
}

/// A message with its flags replaced: the field is appended, and the last one counts.
pub(crate) fn with_flags(message: &[u8], flags: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 4);
    out.extend_from_slice(message);
    put_flags(&mut out, flags);
    out
}

/// Now, as gap marks tell it.
pub(crate) fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
