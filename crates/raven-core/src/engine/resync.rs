//! A book's way back into sync: the snapshot, then the diffs that waited for it.

use super::{answer, Engine, Source};
use crate::events::Event;
use crate::instrument::Instrument;
use crate::parse::binance;
use crate::parse::envelope::{End, EventType};
use crate::parse::event::Stop;
use crate::parse::scan::Scanner;
use crate::pending::PendingDiffs;
use crate::reject::{Reason, Reject};
use crate::sequence::Ids;

impl Engine {
    /// Apply a REST depth answer of at most `limit` levels a side, then the diffs that waited for it.
    pub fn on_snapshot(&mut self, number: u32, recv_ns: i64, body: &[u8], limit: usize) -> u32 {
        let bits = match self.read_snapshot(number, recv_ns, body, limit) {
            Ok(bits) => bits,
            Err(reject) => {
                self.quarantine_snapshot(number, reject, body);
                answer::REJECTED
            }
        };
        self.hub.ring_doorbell();
        bits | u32::from(!self.events.is_empty())
    }

    fn read_snapshot(&mut self, number: u32, recv_ns: i64, body: &[u8], limit: usize) -> Result<u32, Reject> {
        // A book that is in sync needs no snapshot, so one that is broken says nothing about it either.
        if !self.instrument(number).is_some_and(Instrument::waits_for_snapshot) {
            return Ok(answer::IGNORED);
        }
        let mut may_coarsen = true;
        let snapshot = loop {
            let Some(scales) = self.instrument(number).map(Instrument::scales) else { return Ok(answer::IGNORED) };
            let mut scanner = Scanner::new(body, 0);
            let read = binance::snapshot(&mut scanner, scales, &mut self.bids, &mut self.asks);
            match read.and_then(|snapshot| Ok(scanner.finish().map(|()| snapshot)?)) {
                Ok(snapshot) => break snapshot,
                Err(Stop::NeedsScales(scales)) if self.adapt(number, scales, &mut may_coarsen) => {}
                Err(Stop::Refused(reject)) => return Err(reject),
                Err(_) => return Err(Reject::at(Reason::NumberOutOfRange, 0)),
            }
        };
        let Self { instruments, bids, asks, words, config, .. } = self;
        let Some(instrument) = instruments[number as usize].as_deref_mut() else { return Ok(answer::IGNORED) };
        if !instrument.snapshot_fits(snapshot.last_id, waiting_ids) {
            let notice = instrument.refuse_old_snapshot();
            notice.into_iter().for_each(|notice| self.tell(None, number, notice));
            return Ok(answer::IGNORED);
        }
        let exchange_ns = match snapshot.event_ms {
            0 => recv_ns,
            time => config.policy.time_ns(time, recv_ns).map_err(|reason| Reject::at(reason, 0))?,
        };
        let loaded = instrument.load_snapshot(recv_ns, exchange_ns, &snapshot, (bids, asks), limit, words);
        let Some(mut waiting) = loaded else { return Err(Reject::at(Reason::CrossedBook, 0)) };
        let replayed = self.replay(number, &waiting);
        waiting.clear();
        if let Some(instrument) = self.instruments[number as usize].as_deref_mut() {
            instrument.return_buffer(waiting);
            let notice = instrument.synced();
            notice.into_iter().for_each(|notice| self.tell(None, number, notice));
        }
        Ok(answer::PUBLISHED | replayed)
    }

    /// Feed diffs that waited; they were counted as received when they came.
    fn replay(&mut self, number: u32, waiting: &PendingDiffs) -> u32 {
        let mut bits = 0;
        for (recv_ns, raw) in waiting.iter() {
            let source = Source {
                connection: 0,
                venue: 0,
                recv_ns,
                event_type: EventType::Depth,
                stream: b"",
                end: End::Checked,
                frame: raw,
            };
            let mut may_coarsen = true;
            loop {
                let Self { instruments, bids, asks, words, config, .. } = self;
                let Some(instrument) = instruments[number as usize].as_deref_mut() else { return bits };
                let scales = instrument.scales();
                match binance::depth(&mut Scanner::new(raw, 0), bids, asks, |_| Some(scales)) {
                    Ok(depth) => {
                        let (policy, pending) = (&config.policy, config.pending);
                        let (outcome, notice) =
                            instrument.take_diff(policy, pending, recv_ns, &depth, (bids, asks), raw, words);
                        bits |= self.settle(&source, number, outcome, notice);
                        break;
                    }
                    Err(Stop::NeedsScales(scales)) if self.adapt(number, scales, &mut may_coarsen) => {}
                    // It was sound when it came, so only a scale that no longer fits leads here.
                    Err(_) => {
                        self.with_instrument(number, |instrument, _| instrument.counters.rejected += 1);
                        bits |= self.quarantine(0, Some(number), Reject::at(Reason::NumberOutOfRange, 0), raw);
                        break;
                    }
                }
            }
        }
        bits
    }

    #[cold]
    fn quarantine_snapshot(&mut self, number: u32, reject: Reject, body: &[u8]) {
        let kept = &body[..body.len().min(self.config.quarantine_bytes)];
        self.rejects.count(reject.reason);
        self.events.push(Event {
            name: "rejected",
            connection: None,
            instrument: Some(number),
            reason: reject.reason.name(),
            number: reject.offset as u64,
            raw: kept.to_vec(),
        });
        let instrument = self.instruments[number as usize].as_deref_mut();
        let notice = instrument.and_then(|instrument| instrument.refuse_snapshot("snapshot_refused"));
        notice.into_iter().for_each(|notice| self.tell(None, number, notice));
    }
}

/// The ids of a diff that waits.
fn waiting_ids(raw: &[u8]) -> Option<Ids> {
    let depth = binance::diff_ids(&mut Scanner::new(raw, 0)).ok()?;
    Some(Ids { first: depth.first_id, last: depth.last_id, previous: depth.previous_id })
}
