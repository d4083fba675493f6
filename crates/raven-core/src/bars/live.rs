//! Bars of topics: reads trades from rings and publishes what its builders make of them.

use std::sync::Arc;

use super::any::AnyBuilder;
use super::bar::{Bar, Scales, Trade};
use super::builder::Counts;
use super::offline::Trades;
use super::spec::Spec;
use crate::hub::{Hub, Publisher, TopicExists, TopicKey, TopicReader};
use crate::record::{bar as word, flags, gap, Header, Kind, HEADER_WORDS};
use crate::ring::Read;

/// Bars of one spec for many symbols.
#[derive(Debug)]
pub struct Live {
    spec: Spec,
    hub: Arc<Hub>,
    grace_ms: i64,
    feeds: Vec<Feed>,
    words: Vec<u64>,
    published: u64,
}

#[derive(Debug)]
struct Feed {
    reader: TopicReader,
    builder: AnyBuilder,
    out: Out,
}

#[derive(Debug)]
struct Out {
    publisher: Publisher,
    rule: [u64; word::WORDS - word::RULE],
    recv_ns: i64,
    published: u64,
    /// Flags of bars that are published now.
    flags: u32,
}

impl Live {
    /// Bars that go to a hub. Bars of the clock end when it is `grace_ms` past their end, or with the next trade.
    pub fn new(spec: Spec, hub: Arc<Hub>, grace_ms: i64) -> Self {
        Self { spec, hub, grace_ms, feeds: Vec::new(), words: Vec::new(), published: 0 }
    }

    /// Make bars of a topic of trades; returns the id of the topic they go to. `state`: what [`Live::state`] gave for the
    /// same symbol and spec; what does not fit is not used.
    ///
    /// # Errors
    /// [`TopicExists`] when there are such bars already.
    pub fn add(&mut self, reader: TopicReader, ring_bytes: usize, state: &[u64]) -> Result<(u32, bool), TopicExists> {
        let TopicKey { venue, symbol, .. } = reader.topic().key().clone();
        let key = TopicKey { venue, symbol, data_type: self.spec.data_type(), depth: 0 };
        let publisher = self.hub.create_topic(key, ring_bytes)?;
        let id = publisher.topic().id();
        let mut builder = self.spec.builder();
        let is_continued = !state.is_empty() && builder.load(state);
        let out = Out { publisher, rule: self.spec.to_words(), recv_ns: 0, published: 0, flags: 0 };
        self.feeds.push(Feed { reader, builder, out });
        Ok((id, is_continued))
    }

    /// Make no more bars for a topic of bars; false if there are none.
    pub fn remove(&mut self, topic: u32) -> bool {
        let before = self.feeds.len();
        self.feeds.retain(|feed| feed.out.publisher.topic().id() != topic);
        self.hub.end_topic(topic);
        self.feeds.len() < before
    }

    /// What must survive a restart, for a topic of bars.
    pub fn state(&self, topic: u32) -> Option<Vec<u64>> {
        let mut words = Vec::new();
        self.feed(topic)?.builder.save(&mut words);
        Some(words)
    }

    /// What became of the trades of a topic of bars.
    pub fn counts(&self, topic: u32) -> Option<Counts> {
        Some(self.feed(topic)?.builder.counts())
    }

    fn feed(&self, topic: u32) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.out.publisher.topic().id() == topic)
    }

    /// Take what happened before, as far as that is not known already; bars that end in it are flagged as backfilled. False
    /// when there is no such topic of bars.
    pub fn take_past(&mut self, topic: u32, trades: &Trades<'_>) -> bool {
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.out.publisher.topic().id() == topic) else {
            return false;
        };
        let Feed { builder, out, .. } = feed;
        out.flags = flags::BACKFILLED;
        builder.take_scaled(trades.scales, trades.iter(), &mut |bar, scales| {
            out.recv_ns = bar.close_ms.saturating_mul(1_000_000);
            out.publish(bar, scales);
        });
        out.flags = 0;
        true
    }

    /// Read what came, up to so many trades a symbol, and publish bars; returns how many since the beginning.
    pub fn step(&mut self, now_ms: i64, limit: usize) -> u64 {
        let Self { feeds, words, grace_ms, .. } = self;
        let before: u64 = feeds.iter().map(|feed| feed.out.published).sum();
        for feed in &mut *feeds {
            feed.step(now_ms - *grace_ms, limit, words);
        }
        let published = feeds.iter().map(|feed| feed.out.published).sum::<u64>() - before;
        if published > 0 {
            self.hub.ring_doorbell();
        }
        self.published += published;
        self.published
    }
}

impl Feed {
    fn step(&mut self, now_ms: i64, limit: usize, words: &mut Vec<u64>) {
        let Self { reader, builder, out } = self;
        for _ in 0..limit {
            let read = reader.read(words);
            let scales = builder.scales();
            match read {
                // What waits in the ring belongs before the end of the clock's bar.
                Read::Empty => return builder.on_clock(now_ms, &mut |bar| out.publish(bar, scales)),
                Read::Lapped { lost } => builder.note_gap(lost, &mut |bar| out.publish(bar, scales)),
                Read::Record => take(builder, out, words),
            }
        }
    }
}

fn take(builder: &mut AnyBuilder, out: &mut Out, words: &[u64]) {
    let Some(header) = Header::from_words(words) else { return };
    let body = &words[HEADER_WORDS..];
    match header.kind {
        Kind::Trade if body.len() >= 3 => {
            let trade = Trade {
                time_ms: header.exchange_ns.div_euclid(1_000_000),
                price: body[0] as i64,
                quantity: body[1] as i64,
                sells: body[2] != 0,
                id: header.id,
            };
            out.recv_ns = header.recv_ns;
            let scales = Scales { price: header.price_scale, quantity: header.quantity_scale };
            builder.take_scaled(scales, std::iter::once(trade), &mut |bar, scales| out.publish(bar, scales));
        }
        Kind::Gap if body.len() >= gap::WORDS && body[gap::REPAIRED] == 0 => {
            let scales = builder.scales();
            builder.note_gap(body[gap::COUNT], &mut |bar| out.publish(bar, scales));
        }
        _ => {}
    }
}

impl Out {
    fn publish(&mut self, bar: &Bar, scales: Scales) {
        let mut body = [0; word::WORDS];
        let (sums, rule) = body.split_at_mut(word::RULE);
        sums.copy_from_slice(&bar.to_words());
        rule.copy_from_slice(&self.rule);
        let is_late = if bar.revision > 0 { flags::BACKFILLED } else { 0 };
        let is_holed = if bar.gap_count > 0 { flags::AFTER_GAP } else { 0 };
        let header = Header {
            kind: Kind::Bar,
            flags: self.flags | is_late | is_holed,
            sequence: 0,
            recv_ns: self.recv_ns,
            exchange_ns: bar.close_ms.saturating_mul(1_000_000),
            id: bar.last_id,
            price_scale: scales.price,
            quantity_scale: scales.quantity,
            bids: 0,
            asks: 0,
        };
        self.publisher.publish(&header, &body);
        self.published += 1;
    }
}
