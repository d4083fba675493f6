//! Trades and books of a hub as commands for Redis, a batch at a time, and what became of each.
//!
//! A *channel* is what subscribers hear of one symbol: `trades:BTCUSDT` or `orderbook:BTCUSDT`. It has a cursor on its
//! topic and numbers every event of it by one, whether Redis gets it or not: what does not arrive is a hole in the
//! numbers. The ring is the only buffer. Where an event can end, and the counter that says so:
//!
//! | end | counter |
//! |---|---|
//! | Redis confirmed the `PUBLISH` | `published` |
//! | Redis answered it with an error | `refused` |
//! | overwritten in the ring, or older than `max_age_ns` when its turn came | `dropped` |
//! | sent, and the connection was lost before the answer; subscribers may have it | `unconfirmed` |
//! | a book that Raven itself does not trust just now; or the mark of a hole in the topic | `withheld` |
//!
//! Every event is in exactly one of them, or on its way. Writes of keys (`SET`, `XADD`) that Redis refuses are counted in
//! `keys_refused`; the message itself was published all the same.
//!
//! This makes bytes and takes bytes; who owns the socket is somebody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use crate::hub::{Hub, Listening, Topic, TopicReader};
use crate::record::{data_type, flags, gap, Header, Kind, HEADER_WORDS};
use crate::ring::Read;

mod commands;
pub mod payload;
pub mod replies;

use commands::Heads;
use replies::{NotAReply, Replies, Reply};

/// Records of one channel before another one has its turn.
const BURST: usize = 256;
/// A book that must not be shown as if it could be trusted.
const UNTRUSTED: u32 = flags::STALE | flags::RESYNCING;

/// What is published, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Before every channel and key.
    pub prefix: String,
    /// The venue whose channels are `trades:…` and `orderbook:…`; those of others begin with their name and a colon.
    pub venue: String,
    /// Levels per side of a book, 0 for all that the topic has.
    pub depth: usize,
    /// Events older than this when their turn comes are dropped; 0: never.
    pub max_age_ns: i64,
    /// Keep the latest payload of each channel in a key for so many ms; 0 keeps none.
    pub latest_ttl_ms: u64,
    /// Append each payload to a stream of about so many entries; 0 appends none.
    pub stream_length: u64,
}

/// What became of the events of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Redis confirmed it.
    pub published: u64,
    /// Redis answered with an error.
    pub refused: u64,
    /// Overwritten in the ring, or too old.
    pub dropped: u64,
    /// Sent on a connection that was lost before the answer came.
    pub unconfirmed: u64,
    /// Untrusted books and marks of holes.
    pub withheld: u64,
    /// Writes of keys that Redis refused.
    pub keys_refused: u64,
}

/// One channel.
#[derive(Debug)]
pub struct Channel {
    /// Its name in Redis.
    pub name: String,
    /// Venue of its topic.
    pub venue: Box<str>,
    /// Symbol of its topic.
    pub symbol: Box<str>,
    /// `DataType` of its topic.
    pub data_type: i32,
    /// What became of its events.
    pub counts: Counts,
    json_symbol: Vec<u8>,
    heads: Heads,
    reader: Option<TopicReader>,
    sequence: u64,
    /// The record at the front, if `is_held`.
    words: Vec<u64>,
    is_held: bool,
    is_ready: bool,
    /// The newest payload of this batch, for the key; empty when there is none.
    latest: Vec<u8>,
    has_key: bool,
}

/// What a command in flight was for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Publish,
    Key,
}

/// See the module. One thread calls it; the counters may be looked at in between.
#[derive(Debug)]
pub struct Publications {
    hub: Arc<Hub>,
    options: Options,
    listening: Listening,
    channels: Vec<Channel>,
    by_key: BTreeMap<(Box<str>, Box<str>, i32), usize>,
    by_slot: BTreeMap<usize, usize>,
    /// Topics that were looked at.
    known: BTreeSet<u32>,
    ready: VecDeque<usize>,
    in_flight: VecDeque<(u32, Purpose)>,
    replies: Replies,
    refusals: u64,
    last_refusal: String,
    slots: Vec<usize>,
    payload: Vec<u8>,
    touched: Vec<usize>,
}

impl Publications {
    /// Publications of a hub; `None` when it has no room for one more listener.
    pub fn new(hub: Arc<Hub>, options: Options) -> Option<Self> {
        Some(Self {
            listening: hub.listen()?,
            hub,
            options,
            channels: Vec::new(),
            by_key: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            known: BTreeSet::new(),
            ready: VecDeque::new(),
            in_flight: VecDeque::new(),
            replies: Replies::default(),
            refusals: 0,
            last_refusal: String::new(),
            slots: Vec::new(),
            payload: Vec::new(),
            touched: Vec::new(),
        })
    }

    /// Look for topics that came, and sweep those that are read; call it some times a second.
    pub fn follow(&mut self) {
        let topics = self.hub.topics();
        let alive: BTreeSet<u32> = topics.iter().map(|topic| topic.id()).collect();
        self.known.retain(|id| alive.contains(id));
        for topic in topics {
            if !self.known.contains(&topic.id()) && self.is_settled(&topic) {
                self.known.insert(topic.id());
            }
        }
        // A record published in the moment in which its topic is watched for the first time rings no bell.
        for index in 0..self.channels.len() {
            self.make_ready(index);
        }
    }

    /// Take up a topic, or see that it is none of ours; false when it has to wait.
    fn is_settled(&mut self, topic: &Arc<Topic>) -> bool {
        let key = topic.key();
        let is_ours = match key.data_type {
            data_type::TRADES => true,
            // Deeper tiers are made only while somebody reads them: reading would keep them alive.
            data_type::ORDERBOOK => {
                let least = self.hub.find(&key.venue, &key.symbol, key.data_type, 0);
                least.is_some_and(|least| least.id() == topic.id())
            }
            _ => false,
        };
        if !is_ours {
            return true;
        }
        let index = self.channel_of(topic);
        let channel = &mut self.channels[index];
        if channel.reader.is_some() {
            // The one before it has not been read to its end.
            return false;
        }
        channel.reader = Some(topic.reader_from_start());
        self.by_slot.insert(topic.slot(), index);
        self.listening.watch(topic);
        true
    }

    fn channel_of(&mut self, topic: &Topic) -> usize {
        let key = topic.key();
        let (channels, options) = (&mut self.channels, &self.options);
        *self.by_key.entry((key.venue.clone(), key.symbol.clone(), key.data_type)).or_insert_with(|| {
            let what = if key.data_type == data_type::TRADES { "trades" } else { "orderbook" };
            let venue = if *key.venue == *options.venue { String::new() } else { format!("{}:", key.venue) };
            let own = format!("{venue}{what}:{}", key.symbol);
            channels.push(Channel {
                name: format!("{}{own}", options.prefix),
                venue: key.venue.clone(),
                symbol: key.symbol.clone(),
                data_type: key.data_type,
                counts: Counts::default(),
                json_symbol: payload::json_text(&key.symbol),
                heads: Heads::new(&options.prefix, &own, options.latest_ttl_ms, options.stream_length),
                reader: None,
                sequence: 0,
                words: Vec::new(),
                is_held: false,
                is_ready: false,
                latest: Vec::new(),
                has_key: false,
            });
            channels.len() - 1
        })
    }

    /// Whether there may be something to take.
    pub fn is_due(&self) -> bool {
        !self.ready.is_empty() || self.listening.is_noted()
    }

    /// Whether the last batch had no room for all there was.
    pub fn has_backlog(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Ask to be woken; false when there is something to take already. See [`Listening::may_sleep`].
    pub fn may_sleep(&self, waker: &Waker) -> bool {
        self.ready.is_empty() && self.listening.may_sleep(waker)
    }

    /// Say that the bell need not wake anyone.
    pub fn awake(&self) {
        self.listening.awake();
    }

    /// Append commands for what was published, about `max_bytes` of them; each waits for [`Publications::confirm`].
    pub fn take(&mut self, now_ns: i64, max_bytes: usize, out: &mut Vec<u8>) {
        self.take_bell();
        let oldest_ns = self.oldest_ns(now_ns);
        while out.len() < max_bytes {
            let Some(index) = self.ready.pop_front() else { break };
            self.channels[index].is_ready = false;
            if self.take_some(index, oldest_ns, out) {
                self.make_ready(index);
            }
        }
        let keeps_keys = self.options.latest_ttl_ms > 0;
        for index in std::mem::take(&mut self.touched) {
            let channel = &mut self.channels[index];
            if keeps_keys && !channel.latest.is_empty() {
                channel.heads.put_set(&channel.latest, out);
                channel.latest.clear();
                channel.has_key = true;
                self.in_flight.push_back((index as u32, Purpose::Key));
            }
        }
    }

    /// Drop what is too old meanwhile; for the time in which nothing can be sent.
    pub fn skip(&mut self, now_ns: i64) {
        self.take_bell();
        let oldest_ns = self.oldest_ns(now_ns);
        for channel in &mut self.channels {
            while channel.advance() {
                if Header::from_words(&channel.words).is_some_and(|header| header.recv_ns >= oldest_ns) {
                    break;
                }
                channel.drop_held();
            }
        }
    }

    /// Take what Redis answered; returns how many commands wait for their answer.
    ///
    /// # Errors
    /// [`NotAReply`]: the connection is of no use any more, see [`Publications::abandon`].
    pub fn confirm(&mut self, replies: &[u8]) -> Result<usize, NotAReply> {
        let Self { in_flight, channels, refusals, last_refusal, replies: parser, .. } = self;
        let mut unasked = 0;
        parser.take(replies, |reply| {
            let Some((index, purpose)) = in_flight.pop_front() else {
                unasked += 1;
                return;
            };
            let counts = &mut channels[index as usize].counts;
            match (purpose, &reply) {
                (Purpose::Publish, Reply::Done) => counts.published += 1,
                (Purpose::Publish, Reply::Refused(_)) => counts.refused += 1,
                (Purpose::Key, Reply::Done) => {}
                (Purpose::Key, Reply::Refused(_)) => counts.keys_refused += 1,
            }
            if let Reply::Refused(reason) = reply {
                *refusals += 1;
                *last_refusal = reason;
            }
        })?;
        if unasked > 0 {
            return Err(NotAReply(format!("{unasked} replies that nothing was asked for")));
        }
        Ok(self.in_flight.len())
    }

    /// Give up what waits for an answer: the connection is lost. Returns how many messages that were.
    pub fn abandon(&mut self) -> u64 {
        self.replies = Replies::default();
        let mut messages = 0;
        for (index, purpose) in self.in_flight.drain(..) {
            if matches!(purpose, Purpose::Publish) {
                self.channels[index as usize].counts.unconfirmed += 1;
                messages += 1;
            }
        }
        messages
    }

    /// Every channel there was.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// How many commands Redis has refused.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// What Redis said when it last refused a command; empty when it never did.
    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }

    fn oldest_ns(&self, now_ns: i64) -> i64 {
        match self.options.max_age_ns {
            0 => i64::MIN,
            age => now_ns.saturating_sub(age),
        }
    }

    fn take_bell(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        self.listening.take(&mut slots);
        for slot in slots.drain(..) {
            if let Some(index) = self.by_slot.get(&slot).copied() {
                self.make_ready(index);
            }
        }
        self.slots = slots;
    }

    fn make_ready(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        if !channel.is_ready && channel.reader.is_some() {
            channel.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Write the next records of a channel; whether there may be more.
    fn take_some(&mut self, index: usize, oldest_ns: i64, out: &mut Vec<u8>) -> bool {
        let Self { channels, in_flight, payload, options, touched, .. } = self;
        let channel = &mut channels[index];
        for _ in 0..BURST {
            let is_ended = channel.reader.as_ref().is_none_or(|reader| reader.topic().is_ended());
            if !channel.advance() {
                if is_ended {
                    self.let_go(index);
                }
                return false;
            }
            let Some(header) = Header::from_words(&channel.words) else {
                channel.is_held = false;
                continue;
            };
            if header.recv_ns < oldest_ns {
                channel.drop_held();
                continue;
            }
            channel.is_held = false;
            channel.sequence += 1;
            let body = &channel.words[HEADER_WORDS..];
            payload.clear();
            match header.kind {
                Kind::Trade => payload::put_trade(payload, &channel.json_symbol, &header, body, channel.sequence),
                _ if header.flags & UNTRUSTED != 0 => {
                    channel.counts.withheld += 1;
                    channel.latest.clear();
                    if std::mem::take(&mut channel.has_key) {
                        channel.heads.put_delete(out);
                        in_flight.push_back((index as u32, Purpose::Key));
                    }
                    continue;
                }
                _ => {
                    let (symbol, depth) = (&channel.json_symbol, options.depth);
                    payload::put_book(payload, symbol, &header, body, depth, channel.sequence);
                }
            }
            channel.heads.put_publish(payload, out);
            in_flight.push_back((index as u32, Purpose::Publish));
            if options.stream_length > 0 {
                channel.heads.put_append(payload, out);
                in_flight.push_back((index as u32, Purpose::Key));
            }
            if options.latest_ttl_ms > 0 {
                if channel.latest.is_empty() {
                    touched.push(index);
                }
                std::mem::swap(&mut channel.latest, payload);
            }
        }
        true
    }

    /// The topic has ended and is read to its end; another one of its name may come.
    fn let_go(&mut self, index: usize) {
        if let Some(reader) = self.channels[index].reader.take() {
            self.listening.unwatch(reader.topic());
            self.by_slot.remove(&reader.topic().slot());
        }
    }
}

impl Drop for Publications {
    fn drop(&mut self) {
        (0..self.channels.len()).for_each(|index| self.let_go(index));
    }
}

impl Channel {
    /// Have the next trade or book in `words`; false when there is none. Holes are counted on the way.
    fn advance(&mut self) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        while !self.is_held {
            match reader.read(&mut self.words) {
                Read::Empty => return false,
                Read::Lapped { lost } => {
                    self.sequence += lost;
                    self.counts.dropped += lost;
                }
                Read::Record => match kind_of(&self.words) {
                    Some(Kind::Trade | Kind::Book) => self.is_held = true,
                    // Channels have no message for a hole in the topic: a number that is left out says it.
                    Some(Kind::Gap) if self.words[HEADER_WORDS + gap::REPAIRED] == 0 => {
                        self.sequence += 1;
                        self.counts.withheld += 1;
                    }
                    _ => {}
                },
            }
        }
        true
    }

    fn drop_held(&mut self) {
        self.is_held = false;
        self.sequence += 1;
        self.counts.dropped += 1;
    }
}

/// The kind of a record that is as long as its kind has to be.
fn kind_of(words: &[u64]) -> Option<Kind> {
    let header = Header::from_words(words)?;
    let least = match header.kind {
        Kind::Trade => 3,
        Kind::Book => 1 + 2 * (header.bids as usize + header.asks as usize),
        Kind::Gap => gap::WORDS,
        _ => 0,
    };
    (words.len() >= HEADER_WORDS + least).then_some(header.kind)
}
