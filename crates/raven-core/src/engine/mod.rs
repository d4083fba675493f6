//! The engine: takes frames and snapshots, feeds instruments, and says what needs policy.
//!
//! One writer: all methods that change something are called from one thread. Time is an argument.

mod resync;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::citadel::Policy;
use crate::counters::{Rejects, Totals};
use crate::events::{Event, EventList};
use crate::hub::Hub;
use crate::instrument::{Instrument, Notice, Outcome};
use crate::latency::Histogram;
use crate::parse::binance;
use crate::parse::decimal::MAX_SCALE;
use crate::parse::envelope::{self, End, EventType, Frame};
use crate::parse::event::{Level, Scales, Stop};
use crate::parse::scan::{Next, Scanner};
use crate::pending::PendingLimits;
use crate::reject::{Reason, Reject};
use crate::sequence::Rule;
use crate::slow_kinds;
use crate::symbols::SymbolTable;
use crate::topics::Topics;

/// Bits of an answer of [`Engine::on_frame`].
pub mod answer {
    /// [`super::Engine::take_events`] has something.
    pub const EVENTS_PENDING: u32 = 1;
    /// A record was appended.
    pub const PUBLISHED: u32 = 2;
    /// Something went to quarantine.
    pub const REJECTED: u32 = 4;
    /// A diff waits for its snapshot.
    pub const BUFFERED: u32 = 8;
    /// Something was known already or not asked for.
    pub const IGNORED: u32 = 16;
}

/// Names of unknown event types that are kept; a flood of invented names goes to one entry.
const MAX_UNKNOWN_NAMES: usize = 64;
/// Longer names are kept up to here.
const MAX_UNKNOWN_NAME_BYTES: usize = 64;

/// Settings that do not change while the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Validation.
    pub policy: Policy,
    /// Levels a side in published books.
    pub book_depth: usize,
    /// Longer frames are refused.
    pub max_frame_bytes: usize,
    /// Bounds of the diffs that wait per instrument.
    pub pending: PendingLimits,
    /// Bound of the event list.
    pub max_events: usize,
    /// Bytes of a refused frame that are kept.
    pub quarantine_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            book_depth: 20,
            max_frame_bytes: 1 << 20,
            pending: PendingLimits { events: 10_000, bytes: 4 << 20 },
            max_events: 4096,
            quarantine_bytes: 1 << 16,
        }
    }
}

struct Venue {
    name: Box<str>,
    rule: Rule,
}

/// See the module.
pub struct Engine {
    pub(crate) config: EngineConfig,
    hub: Arc<Hub>,
    venues: Vec<Venue>,
    /// Venue of each connection; a closed one leaves its place empty.
    connections: Vec<Option<u16>>,
    lookup: SymbolTable,
    /// Instruments are never moved: a removed one leaves its place empty.
    instruments: Vec<Option<Box<Instrument>>>,
    events: EventList,
    totals: Totals,
    rejects: Rejects,
    unknown_events: BTreeMap<Vec<u8>, u64>,
    /// Latencies of instruments that are no longer collected.
    retired_latency: Histogram,
    /// Whose event was published last: the latency that is observed next is its.
    published_last: u32,
    // Scratch memory, so that no event allocates once warm.
    bids: Vec<Level>,
    asks: Vec<Level>,
    words: Vec<u64>,
}

impl Engine {
    /// An engine that publishes to a hub.
    pub fn new(hub: Arc<Hub>, config: EngineConfig) -> Self {
        Self {
            config,
            hub,
            venues: Vec::new(),
            connections: Vec::new(),
            lookup: SymbolTable::default(),
            instruments: Vec::new(),
            events: EventList::new(config.max_events),
            totals: Totals::default(),
            rejects: Rejects::default(),
            unknown_events: BTreeMap::new(),
            retired_latency: Histogram::default(),
            published_last: 0,
            bids: Vec::with_capacity(1024),
            asks: Vec::with_capacity(1024),
            words: Vec::with_capacity(4096),
        }
    }

    // --- registration -------------------------------------------------------------------------------------------

    /// Register a venue.
    pub fn add_venue(&mut self, name: &str, rule: Rule) -> u16 {
        self.venues.push(Venue { name: name.into(), rule });
        (self.venues.len() - 1) as u16
    }

    /// Register an instrument; `None` when the venue is unknown, the symbol is there already or the hub is full.
    pub fn add_instrument(
        &mut self,
        venue: u16,
        symbol: &str,
        scales: Scales,
        ring_bytes: usize,
        needs_book: bool,
    ) -> Option<u32> {
        let Venue { name, rule } = self.venues.get(usize::from(venue))?;
        let topics = Topics::create(&self.hub, name, symbol, self.config.book_depth, ring_bytes).ok()?;
        let instrument = Instrument::new(venue, symbol, *rule, scales, needs_book, topics);
        let number = self.instruments.len() as u32;
        self.instruments.push(Some(Box::new(instrument)));
        self.lookup.insert(venue, symbol.as_bytes(), number);
        Some(number)
    }

    /// Forget an instrument.
    pub fn remove_instrument(&mut self, number: u32) -> bool {
        let Some(gone) = self.instruments.get_mut(number as usize).and_then(Option::take) else { return false };
        self.lookup.remove(gone.venue, gone.symbol.as_bytes());
        self.retired_latency.add(&gone.latency);
        gone.topics.end(&self.hub);
        true
    }

    /// Find an instrument.
    pub fn find(&self, venue: u16, symbol: &str) -> Option<u32> {
        self.lookup.get(venue, symbol.as_bytes())
    }

    /// Look at an instrument.
    pub fn instrument(&self, number: u32) -> Option<&Instrument> {
        self.instruments.get(number as usize)?.as_deref()
    }

    /// Want its diffs, or no longer.
    pub fn want_book(&mut self, number: u32, wanted: bool) {
        if let Some(instrument) = self.instruments.get_mut(number as usize).and_then(Option::as_deref_mut) {
            instrument.needs_book = wanted;
        }
    }

    /// Publish deeper books of an instrument from now on; returns the topic's id.
    pub fn enable_depth(&mut self, number: u32, depth: usize, recv_ns: i64) -> Option<u32> {
        let instrument = self.instruments.get_mut(number as usize)?.as_deref_mut()?;
        let (topic, fresh) = instrument.topics.enable_depth(&self.hub, depth).ok()?;
        if fresh {
            instrument.publish_deep(topic, recv_ns, &mut self.words);
        }
        Some(topic)
    }

    /// Register a connection to a venue.
    pub fn open_connection(&mut self, venue: u16) -> Option<u32> {
        self.venues.get(usize::from(venue))?;
        self.connections.push(Some(venue));
        Some(self.connections.len() as u32 - 1)
    }

    /// Forget a connection: frames that still come from it are ignored.
    pub fn close_connection(&mut self, connection: u32) {
        if let Some(venue) = self.connections.get_mut(connection as usize) {
            *venue = None;
        }
    }

    // --- frames -------------------------------------------------------------------------------------------------

    /// Take one frame through all stages; see [`answer`].
    #[inline]
    pub fn on_frame(&mut self, connection: u32, recv_ns: i64, frame: &[u8]) -> u32 {
        let bits = self.take_frame(connection, recv_ns, frame);
        if bits & answer::PUBLISHED != 0 {
            self.hub.ring_doorbell();
        }
        bits | u32::from(!self.events.is_empty())
    }

    #[inline(always)]
    fn take_frame(&mut self, connection: u32, recv_ns: i64, frame: &[u8]) -> u32 {
        self.totals.frames += 1;
        self.totals.bytes += frame.len() as u64;
        let Some(venue) = self.connections.get(connection as usize).copied().flatten() else { return answer::IGNORED };
        if frame.len() > self.config.max_frame_bytes {
            let reject = Reject::at(Reason::FrameTooLarge, self.config.max_frame_bytes);
            return self.quarantine(connection, None, reject, frame);
        }
        match envelope::open(frame) {
            Ok(Frame::Events { event_type, scanner, stream, end }) => {
                self.take_events_of(Source { connection, venue, recv_ns, event_type, stream, end, frame }, scanner)
            }
            Ok(other) => self.take_other(connection, other, frame),
            Err(reject) => self.quarantine(connection, None, reject, frame),
        }
    }

    #[inline(always)]
    fn take_events_of(&mut self, source: Source<'_>, mut scanner: Scanner<'_>) -> u32 {
        if scanner.peek() == Ok(b'{') {
            return self.take_event(&source, scanner);
        }
        // An array: check all of it first, so that a broken end does not leave half of it applied.
        let mut whole = scanner;
        let checked = whole.skip().and_then(|()| source.end.check(whole));
        match checked.and_then(|()| scanner.open(b'[', b']')) {
            Ok(Next::More) => {}
            // No event at all: as little known as one of an unknown type.
            Ok(_) => return self.take_other(source.connection, Frame::Unknown(b"[]"), source.frame),
            Err(reject) => return self.quarantine(source.connection, None, reject, source.frame),
        }
        let mut bits = 0;
        loop {
            let mut after = scanner;
            if after.skip().is_err() {
                return bits;
            }
            bits |= self.take_event(&Source { end: End::Checked, ..source }, scanner);
            scanner = after;
            if scanner.next(b']') != Ok(Next::More) {
                return bits;
            }
        }
    }

    /// Read one event; when its decimals do not fit the instrument's scales, change them and read again.
    #[inline(always)]
    fn take_event(&mut self, source: &Source<'_>, scanner: Scanner<'_>) -> u32 {
        let mut may_coarsen = true;
        loop {
            let mut number = None;
            let result = self.read_event(source, scanner, &mut number);
            if let Some(instrument) = number {
                match result {
                    Ok((outcome, notice)) => return self.settle(source, instrument, outcome, notice),
                    Err(Stop::Refused(reject)) => return self.refuse(source, instrument, reject),
                    Err(Stop::NeedsScales(scales)) => {
                        if !self.adapt(instrument, scales, &mut may_coarsen) {
                            let reject = Reject::at(Reason::NumberOutOfRange, scanner.offset());
                            return self.refuse(source, instrument, reject);
                        }
                    }
                    Err(Stop::NotCollected) => return answer::IGNORED,
                }
            } else {
                return match result {
                    Err(Stop::Refused(reject)) => self.quarantine(source.connection, None, reject, source.frame),
                    _ => {
                        self.totals.not_collected += 1;
                        answer::IGNORED
                    }
                };
            }
        }
    }

    /// Parse and apply. Nothing is applied before the whole frame was found sound.
    #[inline(always)]
    fn read_event(
        &mut self,
        source: &Source<'_>,
        mut scanner: Scanner<'_>,
        number: &mut Option<u32>,
    ) -> Result<(Outcome, Option<Notice>), Stop> {
        let Self { lookup, instruments, bids, asks, words, config, .. } = self;
        let start = scanner.offset();
        let resolve = |symbol: &[u8]| {
            let found = lookup.get(source.venue, symbol)?;
            *number = Some(found);
            instruments[found as usize].as_deref().map(Instrument::scales)
        };
        match source.event_type {
            EventType::BookTicker => {
                let ticker = binance::book_ticker(&mut scanner, resolve)?;
                source.end.check(scanner)?;
                let instrument = of(instruments, *number)?;
                instrument.counters.received += 1;
                instrument.last_seen.quote = source.recv_ns;
                Ok((instrument.take_quote(&config.policy, source.recv_ns, &ticker), None))
            }
            EventType::Trade | EventType::AggTrade => {
                let aggregate = source.event_type == EventType::AggTrade;
                let trade = binance::trade(&mut scanner, aggregate, resolve)?;
                source.end.check(scanner)?;
                let instrument = of(instruments, *number)?;
                instrument.counters.received += 1;
                instrument.last_seen.trade = source.recv_ns;
                Ok(instrument.take_trade(&config.policy, source.recv_ns, &trade, aggregate))
            }
            EventType::Depth => {
                let depth = binance::depth(&mut scanner, bids, asks, resolve)?;
                source.end.check(scanner)?;
                let raw = &source.frame[start..scanner.offset()];
                let instrument = of(instruments, *number)?;
                instrument.counters.received += 1;
                instrument.last_seen.book = source.recv_ns;
                if !instrument.needs_book {
                    instrument.counters.ignored += 1;
                    return Ok((Outcome::Ignored, None));
                }
                let (policy, recv_ns) = (&config.policy, source.recv_ns);
                Ok(instrument.take_diff(policy, config.pending, recv_ns, &depth, (bids, asks), raw, words))
            }
            EventType::PartialDepth => {
                let depth = slow_kinds::partial_depth(&mut scanner, source.stream, bids, asks, resolve)?;
                source.end.check(scanner)?;
                let instrument = of(instruments, *number)?;
                instrument.counters.received += 1;
                instrument.last_seen.book = source.recv_ns;
                Ok((instrument.take_partial(&config.policy, source.recv_ns, &depth, (bids, asks), words), None))
            }
            EventType::Kline | EventType::MarkPrice | EventType::ForceOrder => {
                let event = slow_kinds::read(source.event_type, &mut scanner, resolve)?;
                source.end.check(scanner)?;
                let instrument = of(instruments, *number)?;
                instrument.counters.received += 1;
                Ok((slow_kinds::take(instrument, &config.policy, source.recv_ns, event), None))
            }
        }
    }

    /// Turn an outcome into answer bits, and a notice into an event.
    #[inline(always)]
    fn settle(&mut self, source: &Source<'_>, number: u32, outcome: Outcome, notice: Option<Notice>) -> u32 {
        if let Some(notice) = notice {
            self.tell(Some(source.connection), number, notice);
        }
        match outcome {
            Outcome::Published => {
                self.published_last = number;
                answer::PUBLISHED
            }
            Outcome::Ignored => answer::IGNORED,
            Outcome::Buffered => answer::BUFFERED,
            Outcome::Rejected(reason) => {
                self.quarantine(source.connection, Some(number), Reject::at(reason, 0), source.frame)
            }
        }
    }

    #[cold]
    fn tell(&mut self, connection: Option<u32>, number: u32, notice: Notice) {
        let (name, reason, count) = match notice {
            Notice::Resync(reason) => ("resync", reason, 0),
            Notice::Synced(id) => ("synced", "", id),
            Notice::Gap(count) => ("gap", "venue_gap", count),
        };
        self.events.push(Event { name, connection, instrument: Some(number), reason, number: count, raw: Vec::new() });
    }

    /// Change an instrument's scales. They are made coarser once per event at most, so that an event with one number
    /// too fine and one too large for any scale comes to an end.
    #[cold]
    fn adapt(&mut self, number: u32, scales: Scales, may_coarsen: &mut bool) -> bool {
        let Some(instrument) = self.instruments[number as usize].as_deref_mut() else { return false };
        let now = instrument.scales();
        let is_coarser = scales.price < now.price || scales.quantity < now.quantity;
        let is_allowed = !is_coarser || std::mem::take(may_coarsen);
        is_allowed && scales.price.max(scales.quantity) <= MAX_SCALE && instrument.adapt(scales)
    }

    /// A refusal whose symbol is known.
    #[cold]
    fn refuse(&mut self, source: &Source<'_>, number: u32, reject: Reject) -> u32 {
        if let Some(instrument) = self.instruments[number as usize].as_deref_mut() {
            instrument.counters.received += 1;
            instrument.counters.rejected += 1;
        }
        self.quarantine(source.connection, Some(number), reject, source.frame)
    }

    #[cold]
    fn quarantine(&mut self, connection: u32, instrument: Option<u32>, reject: Reject, frame: &[u8]) -> u32 {
        self.rejects.count(reject.reason);
        self.totals.unattributed += u64::from(instrument.is_none());
        let kept = &frame[..frame.len().min(self.config.quarantine_bytes)];
        self.events.push(Event {
            name: "rejected",
            connection: Some(connection),
            instrument,
            reason: reject.reason.name(),
            number: reject.offset as u64,
            raw: kept.to_vec(),
        });
        answer::REJECTED
    }

    #[cold]
    fn take_other(&mut self, connection: u32, frame: Frame<'_>, raw: &[u8]) -> u32 {
        let reason = match frame {
            Frame::Unknown(name) => {
                self.totals.unknown_events += 1;
                let name = &name[..name.len().min(MAX_UNKNOWN_NAME_BYTES)];
                let room = self.unknown_events.len() < MAX_UNKNOWN_NAMES || self.unknown_events.contains_key(name);
                let name = if room { name } else { b"other" };
                *self.unknown_events.entry(name.to_vec()).or_default() += 1;
                return answer::IGNORED;
            }
            Frame::Notice(_) => {
                self.totals.notices += 1;
                "serverShutdown"
            }
            Frame::Reply | Frame::Events { .. } => {
                self.totals.replies += 1;
                "reply"
            }
        };
        self.events.push(Event {
            name: "control",
            connection: Some(connection),
            instrument: None,
            reason,
            number: 0,
            raw: raw.to_vec(),
        });
        answer::IGNORED
    }

    /// Act on one instrument with the scratch memory at hand, then wake readers.
    pub fn with_instrument(&mut self, number: u32, act: impl FnOnce(&mut Instrument, &mut Vec<u64>)) -> bool {
        let Self { instruments, words, .. } = self;
        let Some(instrument) = instruments.get_mut(number as usize).and_then(Option::as_deref_mut) else {
            return false;
        };
        act(instrument, words);
        self.hub.ring_doorbell();
        true
    }

    /// Take what needs policy.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.take()
    }

    /// Count how long the frame that was published last took from its arrival.
    #[inline(always)]
    pub fn observe_latency(&mut self, duration_ns: i64) {
        if let Some(Some(instrument)) = self.instruments.get_mut(self.published_last as usize) {
            instrument.latency.observe(duration_ns);
        }
    }

    /// Latencies of one instrument, or of all that ever were.
    pub fn latency(&self, number: Option<u32>) -> Histogram {
        let mut sum = Histogram::default();
        match number {
            Some(number) => self.instrument(number).into_iter().for_each(|one| sum.add(&one.latency)),
            None => {
                sum.add(&self.retired_latency);
                self.instruments.iter().flatten().for_each(|one| sum.add(&one.latency));
            }
        }
        sum
    }

    /// Counters of what belongs to no symbol.
    pub fn totals(&self) -> Totals {
        Totals { events_lost: self.events.lost_so_far(), ..self.totals }
    }

    /// Refused events by reason.
    pub fn rejects(&self) -> &Rejects {
        &self.rejects
    }

    /// Unknown event types and how often they came.
    pub fn unknown_events(&self) -> &BTreeMap<Vec<u8>, u64> {
        &self.unknown_events
    }
}

/// Where an event comes from.
#[derive(Clone, Copy)]
struct Source<'a> {
    connection: u32,
    venue: u16,
    recv_ns: i64,
    event_type: EventType,
    stream: &'a [u8],
    end: End,
    frame: &'a [u8],
}

#[inline(always)]
fn of(instruments: &mut [Option<Box<Instrument>>], number: Option<u32>) -> Result<&mut Instrument, Stop> {
    number.and_then(|number| instruments[number as usize].as_deref_mut()).ok_or(Stop::NotCollected)
}
