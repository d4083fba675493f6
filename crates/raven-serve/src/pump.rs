//! The one reader of the rings on behalf of every gRPC subscriber, and the one that obeys policy's commands.
//!
//! A turn of the pump: obey commands, take what the doorbell noted, copy those rings' new records into the channels
//! (encoding each once per channel), and sleep or go on. Streams are woken as chunks are closed and run after the turn.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use raven_core::hub::{Listening, Topic};
use raven_core::record::{flags, Header, Kind};
use raven_core::ring::{Cursor, Read};
use tokio::time::{interval, Interval, MissedTickBehavior};
use tonic::Status;

use crate::channel::Channel;
use crate::commands::Command;
use crate::config::Attach;
use crate::frame::{close_frame, PREFIX_BYTES};
use crate::local::{Local, Phase};
use crate::past::Encoded;
use crate::route::{Delegates, SERVICES};
use crate::stream::{unix_ns, with_flags, Sub};
use crate::take_up::{mark, seam};

/// Records taken from one ring per turn, so that a busy topic does not keep the others waiting.
const RECORDS_PER_TURN: usize = 2048;
/// How often the pump may step back for streams that were woken and have not run. It fills logs far faster than
/// streams empty them; without this, a burst would overrun clients that keep up.
const COURTESY: u32 = 64;
/// Every topic is looked at this often even if no bell rang; see the window that `raven_core::hub` leaves open.
const SWEEP: Duration = Duration::from_millis(100);
/// Bounds of the log of one channel, bytes.
const LOG_BYTES: (usize, usize) = (64 << 10, 4 << 20);
/// How often a seam is looked for in a topic that moves on meanwhile.
const SEAM_TRIES: usize = 3;
/// Connections get this long to say goodbye once their streams have ended.
const GOODBYE: Duration = Duration::from_millis(500);

/// A ring that somebody subscribed to.
#[derive(Debug)]
struct Source {
    topic: Arc<Topic>,
    cursor: Cursor,
    /// The newest record that is no gap mark; what a new subscriber gets first. Empty when there is none.
    newest: Vec<u64>,
    channels: Vec<Rc<RefCell<Channel>>>,
}

/// See the module.
pub(crate) struct Pump {
    local: Rc<Local>,
    delegates: Rc<Delegates>,
    listening: Listening,
    commands: VecDeque<Command>,
    /// By slot of the topic.
    sources: HashMap<usize, Source>,
    noted: Vec<usize>,
    /// Slots with more than one turn's records.
    backlog: Vec<usize>,
    words: Vec<u64>,
    sweep: Interval,
    /// What one channel may keep for slow readers, bytes: its share of all, within bounds.
    log_limit: usize,
    was_asleep: bool,
    /// Turns in a row that were left to the streams.
    stepped_back: u32,
    /// Draining: the sequences that were the newest when it began, by slot, as long as they have not been read.
    last_wanted: Option<HashMap<usize, u64>>,
    closing_since: Option<Instant>,
}

impl Pump {
    pub(crate) fn new(local: Rc<Local>, delegates: Rc<Delegates>, listening: Listening) -> Self {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            local,
            delegates,
            listening,
            commands: VecDeque::new(),
            sources: HashMap::new(),
            noted: Vec::new(),
            backlog: Vec::new(),
            words: Vec::new(),
            sweep,
            log_limit: LOG_BYTES.1,
            was_asleep: false,
            stepped_back: 0,
            last_wanted: None,
            closing_since: None,
        }
    }

    /// One turn; ready when the server has stopped.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.listening.awake();
        if std::mem::take(&mut self.was_asleep) {
            self.local.shared.stats.wakeups.add(1);
        }
        let mut is_busy = self.local.shared.config.busy_poll;
        self.local.shared.commands.take(cx, &mut self.commands);
        while let Some(command) = self.commands.pop_front() {
            if matches!(command, Command::Stop) {
                return Poll::Ready(());
            }
            self.obey(command);
        }
        if self.local.woken.get() > 0 && self.stepped_back < COURTESY {
            self.stepped_back += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.stepped_back = 0;
        let mut slots = std::mem::take(&mut self.noted);
        slots.append(&mut self.backlog);
        self.listening.take(&mut slots);
        if self.sweep.poll_tick(cx).is_ready() {
            let lagging = self.sources.iter().filter(|(_, source)| source.topic.ring().lag(&source.cursor) > 0);
            slots.extend(lagging.map(|(slot, _)| *slot));
            is_busy = true;
        }
        for slot in slots.drain(..) {
            self.run(slot);
        }
        self.noted = slots;
        if self.local.topics_changed.take() {
            self.forget_unused();
        }
        self.end_streams();
        if self.is_finished() {
            return Poll::Ready(());
        }
        if is_busy || !self.backlog.is_empty() || !self.listening.may_sleep(cx.waker()) {
            cx.waker().wake_by_ref();
        } else {
            self.was_asleep = true;
        }
        Poll::Pending
    }

    /// Move a ring's new records into its channels.
    fn run(&mut self, slot: usize) {
        let Some(source) = self.sources.get_mut(&slot) else { return };
        let stats = &self.local.shared.stats;
        let now = Instant::now();
        let limit = self.log_limit;
        let (mut encoded, mut fresh) = (0, 0);
        for turn in 0..=RECORDS_PER_TURN {
            if turn == RECORDS_PER_TURN || fresh > limit / 4 {
                self.backlog.push(slot);
                break;
            }
            match source.topic.ring().read(&mut source.cursor, &mut self.words) {
                Read::Empty => break,
                Read::Record => {
                    let mut longest = 0;
                    for channel in &source.channels {
                        let mut channel = channel.borrow_mut();
                        encoded += u64::from(channel.append(&self.words, now, limit));
                        longest = longest.max(channel.take_fresh());
                    }
                    fresh += longest;
                    if Header::from_words(&self.words).is_some_and(|header| header.kind != Kind::Gap) {
                        std::mem::swap(&mut source.newest, &mut self.words);
                    }
                }
                Read::Lapped { lost } => {
                    let sequence = source.cursor.next_sequence() - 1;
                    for channel in &source.channels {
                        channel.borrow_mut().append_gap(lost, sequence, now, unix_ns(), limit);
                    }
                }
            }
        }
        for channel in &source.channels {
            channel.borrow_mut().close_chunk(now, limit);
        }
        stats.encoded.add(encoded);
    }

    fn obey(&mut self, command: Command) {
        let local = Rc::clone(&self.local);
        let with_stream = |id: u64, act: &mut dyn FnMut(&mut crate::stream::Stream)| {
            let stream = local.streams.borrow().get(&id).cloned();
            if let Some(stream) = stream {
                act(&mut stream.borrow_mut());
            }
        };
        match command {
            Command::Attach { stream_id, topic, options } => {
                with_stream(stream_id, &mut |stream| self.attach(stream, &topic, options));
            }
            Command::Resume { stream_id, topic, options, after, answer } => {
                let mut is_attached = false;
                with_stream(stream_id, &mut |stream| is_attached = self.resume(stream, &topic, options, after, None));
                let _ = answer.try_send(is_attached);
            }
            Command::TakeUp { stream_id, topic, options, after, recv_ns, answer } => {
                let mut is_attached = false;
                with_stream(stream_id, &mut |stream| {
                    // A topic may move on while it is looked at; that it does so each time is not to be expected.
                    is_attached = (0..SEAM_TRIES).any(|_| {
                        let seam = seam(topic.ring(), after, recv_ns);
                        self.resume(stream, &topic, options, seam.after, seam.missing)
                    });
                });
                let _ = answer.try_send(is_attached);
            }
            Command::Push { stream_id, frames } => {
                with_stream(stream_id, &mut |stream| stream.push(frames.clone()));
            }
            Command::Detach { stream_id, topic_id } => {
                with_stream(stream_id, &mut |stream| self.detach(stream, topic_id));
            }
            Command::Configure { stream_id, batch, heartbeat } => with_stream(stream_id, &mut |stream| {
                (stream.batch, stream.heartbeat) = (batch.max(1), heartbeat);
                stream.signal.wake();
            }),
            Command::Close { stream_id, status } => {
                with_stream(stream_id, &mut |stream| stream.end_with(status.clone(), false));
            }
            Command::Serving(is_serving) => self.report(is_serving),
            Command::Streams(answer) => {
                let streams = local.streams.borrow();
                let _ = answer.try_send(streams.values().map(|stream| stream.borrow().info()).collect());
            }
            Command::Drain => self.drain(),
            Command::Stop => {}
        }
    }

    fn attach(&mut self, stream: &mut crate::stream::Stream, topic: &Arc<Topic>, options: Attach) {
        let tier = topic.key().depth;
        let depth = if options.depth < tier { usize::from(options.depth) } else { 0 };
        if let Some(sub) = stream.subs.get_mut(&topic.id()) {
            if sub.channel.borrow().depth == depth {
                sub.options = options;
                return;
            }
        }
        let slot = topic.slot();
        if !self.sources.contains_key(&slot) {
            self.open(topic);
        }
        self.run(slot);
        let Some(source) = self.sources.get_mut(&slot) else { return };
        let existing = source.channels.iter().find(|channel| channel.borrow().depth == depth);
        let channel = existing.cloned().unwrap_or_else(|| {
            let sequence = source.cursor.next_sequence() - 1;
            let producer = &self.local.shared.config.producer;
            let channel = Rc::new(RefCell::new(Channel::new(Arc::clone(topic), depth, producer, sequence)));
            source.channels.push(Rc::clone(&channel));
            channel
        });
        // Another depth is another series of states: it starts with one, whatever was asked for.
        let is_other_depth = stream.subs.remove(&topic.id()).map(Sub::leave).is_some();
        let snapshot =
            (options.from_latest || is_other_depth).then(|| first_message(&channel.borrow(), &source.newest)).flatten();
        stream.subs.insert(topic.id(), Sub::join(&channel, &stream.signal, options, snapshot));
        self.local.topics_changed.set(true);
    }

    /// Attach a stream right behind the record `after`: what the channel has passed already is read from the ring again.
    /// Before all that goes a mark for what is `missing`.
    fn resume(
        &mut self,
        stream: &mut crate::stream::Stream,
        topic: &Arc<Topic>,
        options: Attach,
        after: u64,
        missing: Option<u64>,
    ) -> bool {
        let mut cursor = topic.ring().cursor_at_start();
        let mut record = Vec::new();
        // The oldest that the ring has, or the record behind `after` if that is newer.
        loop {
            let next = cursor.next_sequence();
            if next > after + 1 {
                return false;
            }
            if next == after + 1 {
                break;
            }
            if topic.ring().read(&mut cursor, &mut record) == Read::Empty {
                // The journal cannot be ahead of the ring; whoever says so means another topic.
                return false;
            }
        }
        // The stream joins where the source stands: bring that behind `after`, and fetch what lies between.
        while self.sources.get(&topic.slot()).is_some_and(|source| source.cursor.next_sequence() <= after) {
            self.run(topic.slot());
        }
        self.attach(stream, topic, Attach { from_latest: false, ..options });
        let Some(sub) = stream.subs.get(&topic.id()) else { return false };
        let channel = Rc::clone(&sub.channel);
        let Some(source) = self.sources.get(&topic.slot()) else { return false };
        let joined = source.cursor.next_sequence();
        let (mut frames, mut messages) = (Vec::new(), 0);
        if let Some(count) = missing {
            frames.resize(PREFIX_BYTES, 0);
            channel.borrow().encoder.encode(&mark(topic, count, after, unix_ns()), 0, &mut frames);
            close_frame(&mut frames, 0);
            messages += 1;
        }
        while cursor.next_sequence() < joined {
            match topic.ring().read(&mut cursor, &mut record) {
                Read::Record => {
                    let at = frames.len();
                    frames.resize(at + PREFIX_BYTES, 0);
                    let channel = channel.borrow();
                    if channel.encoder.encode(&record, channel.depth, &mut frames) {
                        close_frame(&mut frames, at);
                        messages += 1;
                    } else {
                        frames.truncate(at);
                    }
                }
                // The writer went round the whole ring meanwhile.
                Read::Lapped { .. } | Read::Empty => {
                    self.detach(stream, topic.id());
                    return false;
                }
            }
        }
        self.local.shared.open().get(&stream.id).inspect(|waiting| waiting.add(frames.len()));
        stream.push(Encoded { bytes: frames.into(), messages });
        stream.hold_behind_past(topic.id());
        true
    }

    fn detach(&self, stream: &mut crate::stream::Stream, topic: u32) {
        if let Some(sub) = stream.subs.remove(&topic) {
            sub.leave();
            self.local.topics_changed.set(true);
        }
    }

    /// Give every channel its share of the memory for slow readers.
    fn share_log(&mut self) {
        let channels: usize = self.sources.values().map(|source| source.channels.len()).sum();
        self.log_limit = (self.local.shared.config.log_bytes / channels.max(1)).clamp(LOG_BYTES.0, LOG_BYTES.1);
    }

    /// Start to read a ring, on its newest record.
    fn open(&mut self, topic: &Arc<Topic>) {
        self.listening.watch(topic);
        let mut cursor = topic.ring().cursor_at_latest();
        let mut newest = Vec::new();
        while let Read::Lapped { .. } = topic.ring().read(&mut cursor, &mut newest) {}
        if Header::from_words(&newest).is_none_or(|header| header.kind == Kind::Gap) {
            newest.clear();
        }
        self.sources.insert(topic.slot(), Source { topic: Arc::clone(topic), cursor, newest, channels: Vec::new() });
    }

    fn forget_unused(&mut self) {
        let listening = &self.listening;
        self.sources.retain(|_, source| {
            source.channels.retain(|channel| !channel.borrow().is_unused());
            let is_used = !source.channels.is_empty();
            if !is_used {
                listening.unwatch(&source.topic);
            }
            is_used
        });
        self.share_log();
    }

    /// Begin to drain: what the rings hold now is still sent.
    fn drain(&mut self) {
        self.report(false);
        self.local.phase.send_replace(Phase::Draining);
        self.backlog.extend(self.sources.keys());
        let heads = self.sources.iter().map(|(slot, source)| (*slot, source.topic.ring().head_sequence()));
        self.last_wanted = Some(heads.collect());
    }

    /// End every stream, behind what it is still to be sent, once the rings were read as far as the drain wants.
    fn end_streams(&mut self) {
        let Some(wanted) = &mut self.last_wanted else { return };
        let sources = &self.sources;
        wanted.retain(|slot, head| sources.get(slot).is_some_and(|source| source.cursor.next_sequence() <= *head));
        if wanted.is_empty() {
            self.last_wanted = None;
            for stream in self.local.streams.borrow().values() {
                stream.borrow_mut().end_with(Status::unavailable("the server is shutting down; connect again"), true);
            }
        }
    }

    /// Whether the server has drained: first the streams end, then the connections.
    fn is_finished(&mut self) -> bool {
        let phase = *self.local.phase.borrow();
        if phase == Phase::Draining && self.local.streams.borrow().is_empty() {
            self.local.phase.send_replace(Phase::Closing);
            self.closing_since = Some(Instant::now());
        }
        let is_over = |since: Instant| self.local.connections.get() == 0 || since.elapsed() > GOODBYE;
        self.closing_since.is_some_and(is_over)
    }

    pub(crate) fn report(&self, is_serving: bool) {
        let status =
            if is_serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        let delegates = Rc::clone(&self.delegates);
        tokio::task::spawn_local(async move {
            for service in SERVICES.into_iter().chain([""]) {
                delegates.reporter.set_service_status(service, status).await;
            }
        });
    }
}

/// What a subscriber gets first: the newest record, flagged as a snapshot.
fn first_message(channel: &Channel, newest: &[u64]) -> Option<Vec<u8>> {
    let header = Header::from_words(newest)?;
    let mut message = Vec::new();
    channel
        .encoder
        .encode(newest, channel.depth, &mut message)
        .then(|| with_flags(&message, header.flags | flags::SNAPSHOT))
}
