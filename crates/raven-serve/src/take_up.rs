//! Where a client goes on that was away: behind the last record it had, or, when that is not possible, behind a mark
//! that says how much it missed.
//!
//! It names the record by sequence and receive time, because a topic may have begun anew meanwhile: then sequences mean
//! other records. A record older than the first of this life belongs to a former one.

use raven_core::hub::Topic;
use raven_core::record::{data_type, flags, gap, GapReason, Header, Kind, HEADER_WORDS};
use raven_core::ring::{Read, Ring};

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seam {
    /// The sequence behind which.
    pub(crate) after: u64,
    /// How many records the client misses before that: `None` for none, 0 when nobody knows.
    pub(crate) missing: Option<u64>,
}

/// Find where a client goes on whose last record had this sequence and receive time. Looks at the ring once: it may
/// have moved on when the seam is used.
pub(crate) fn seam(ring: &Ring, after: u64, recv_ns: i64) -> Seam {
    let mut cursor = ring.cursor_at_start();
    let mut record = Vec::new();
    let mut last = None;
    let mut is_same = after <= ring.head_sequence() && ring.first_recv_ns().is_some_and(|first| recv_ns >= first);
    while is_same && cursor.next_sequence() <= after {
        match ring.read(&mut cursor, &mut record) {
            Read::Record => last = Header::from_words(&record),
            Read::Lapped { .. } => last = None,
            Read::Empty => is_same = false,
        }
    }
    // The record itself, if it is still there, says whether it is the one that the client had.
    is_same &= last.is_none_or(|header| header.sequence != after || header.recv_ns == recv_ns);
    if !is_same {
        cursor = ring.cursor_at_start();
        while let Read::Lapped { .. } = ring.read(&mut cursor, &mut record) {}
        // A record that was read is the oldest there is, and comes again.
        return Seam { after: cursor.next_sequence() - 1 - u64::from(!record.is_empty()), missing: Some(0) };
    }
    let after_that = cursor.next_sequence() - 1;
    Seam { after: after_that, missing: (after_that > after).then(|| after_that - after) }
}

/// The record of a mark for `count` records that are missing, the last of them with `sequence`.
pub(crate) fn mark(topic: &Topic, count: u64, sequence: u64, now_ns: i64) -> Vec<u64> {
    let data_type = topic.key().data_type;
    let header = Header {
        kind: Kind::Gap,
        flags: flags::AFTER_GAP,
        sequence,
        recv_ns: now_ns,
        exchange_ns: 0,
        id: 0,
        price_scale: 0,
        quantity_scale: 0,
        bids: 0,
        asks: 0,
    };
    let mut body = [0; gap::WORDS];
    body[gap::DATA_TYPE] = data_type as u64;
    body[gap::COUNT] = count;
    body[gap::REASON] = GapReason::Upstream as u64;
    // States that are missing are no loss once a newer one is there.
    body[gap::REPAIRED] = u64::from(matches!(data_type, data_type::ORDERBOOK | data_type::QUOTES));
    let mut words = header.to_words(HEADER_WORDS + gap::WORDS).to_vec();
    words.extend(body);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use raven_core::ring::{ring, RingWriter};
    use std::sync::Arc;

    fn publish(writer: &mut RingWriter, recv_ns: i64) {
        let header = Header {
            kind: Kind::Trade,
            flags: 0,
            sequence: 0,
            recv_ns,
            exchange_ns: 0,
            id: 0,
            price_scale: 0,
            quantity_scale: 0,
            bids: 0,
            asks: 0,
        };
        writer.publish(&header, &[1, 1, 0, 0, 0]);
    }

    fn ring_of(records: i64) -> Arc<Ring> {
        let (mut writer, ring) = ring(1024);
        (1..=records).for_each(|at| publish(&mut writer, 1_000 + at));
        ring
    }

    #[test]
    fn what_the_ring_has_is_gone_on_with() {
        assert_eq!(seam(&ring_of(10), 7, 1_007), Seam { after: 7, missing: None });
        assert_eq!(seam(&ring_of(10), 10, 1_010), Seam { after: 10, missing: None });
    }

    #[test]
    fn what_the_ring_has_lost_is_counted() {
        let Seam { after, missing } = seam(&ring_of(1_000), 7, 1_007);
        assert!(after > 900 && missing == Some(after - 7), "{after} {missing:?}");
    }

    #[test]
    fn another_life_is_heard_from_its_beginning() {
        let from_the_first = Seam { after: 0, missing: Some(0) };
        assert_eq!(seam(&ring_of(0), 7, 1_007), from_the_first);
        assert_eq!(seam(&ring_of(10), 7, 907), from_the_first, "older than this life");
        assert_eq!(seam(&ring_of(10), 7, 1_008), from_the_first, "another record");
        assert_eq!(seam(&ring_of(10), 11, 1_011), from_the_first, "nobody has that yet");
        let Seam { after, missing } = seam(&ring_of(1_000), 7, 7);
        assert!(after > 900 && missing == Some(0), "{after} {missing:?}");
    }
}
