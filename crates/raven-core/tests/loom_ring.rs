//! The outcome table of `ring.rs`, looked for in every permitted reordering and every interleaving up to a number of
//! preemptions (each case says how many; one more multiplies its time by about fifty).
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p raven-core --release --test loom_ring`.
#![cfg(loom)]

use loom::thread;
use raven_core::record::{Header, Kind, HEADER_WORDS};
use raven_core::ring::{ring, Read, RingWriter};
use std::sync::Arc;

fn publish(writer: &mut RingWriter, id: u64) {
    let header = Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: id as i64,
        exchange_ns: id as i64,
        id,
        price_scale: 0,
        quantity_scale: 0,
        bids: 0,
        asks: 0,
    };
    writer.publish(&header, &[id]);
}

/// One record of 7 words before the reader starts, `more` while it runs, in a ring of 16: it wraps and laps.
fn race(more: u64, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let (mut writer, ring) = ring(16);
        publish(&mut writer, 1);
        let shared = Arc::clone(&ring);
        let reader = thread::spawn(move || {
            let mut cursor = shared.cursor_at_latest();
            let mut reached = cursor.next_sequence() - 1;
            let mut out = Vec::new();
            for _ in 0..2 {
                match shared.read(&mut cursor, &mut out) {
                    Read::Empty => {}
                    Read::Lapped { lost } => {
                        assert!(lost > 0);
                        reached += lost;
                    }
                    Read::Record => {
                        reached += 1;
                        assert_eq!(out.len(), HEADER_WORDS + 1);
                        assert_eq!(out[1], reached, "skipped, repeated or miscounted");
                        assert!([2, 3, 4, 6].iter().all(|at| out[*at] == reached), "torn: {out:?}");
                    }
                }
                assert_eq!(cursor.next_sequence(), reached + 1);
            }
            reached
        });
        for id in 2..2 + more {
            publish(&mut writer, id);
        }
        assert!(reader.join().unwrap() <= 1 + more);
        assert_eq!(ring.head_sequence(), 1 + more);
    });
}

#[test]
fn a_reader_beside_one_publication() {
    race(1, 3);
}

#[test]
fn a_reader_that_is_being_lapped() {
    race(2, 2);
}

#[test]
fn a_reader_that_is_lapped_while_it_resumes() {
    race(3, 1);
}
