//! What a ring promises, against a model and with real threads. `loom_ring.rs` tries every interleaving of small cases.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;
use raven_core::record::{Header, Kind, HEADER_WORDS};
use raven_core::ring::{ring, ring_in, storage_words, Cursor, NotARing, Read, Ring, RingWriter, Word};

fn header(id: u64) -> Header {
    Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: 1,
        exchange_ns: 2,
        id,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    }
}

fn publish(writer: &mut RingWriter, id: u64, body_words: usize) -> u64 {
    let body: Vec<u64> = (0..body_words as u64).map(|at| id * 1000 + at).collect();
    writer.publish(&header(id), &body)
}

fn read_all(ring: &Ring, cursor: &mut Cursor) -> (Vec<u64>, u64) {
    let (mut sequences, mut lost, mut out) = (Vec::new(), 0, Vec::new());
    loop {
        match ring.read(cursor, &mut out) {
            Read::Empty => return (sequences, lost),
            Read::Lapped { lost: more } => lost += more,
            Read::Record => sequences.push(out[1]),
        }
    }
}

#[test]
fn a_reader_gets_every_record_in_order_with_its_words() {
    let (mut writer, ring) = ring(256);
    let mut cursor = ring.cursor_at_end();
    for id in 1..=5 {
        assert_eq!(publish(&mut writer, id, id as usize), id);
    }

    let mut out = Vec::new();
    for id in 1..=5 {
        assert_eq!(ring.read(&mut cursor, &mut out), Read::Record);
        let read = Header::from_words(&out).unwrap();
        assert_eq!((read.sequence, read.id), (id, id));
        assert_eq!(out[HEADER_WORDS..], (0..id).map(|at| id * 1000 + at).collect::<Vec<_>>()[..]);
    }
    assert_eq!(ring.read(&mut cursor, &mut out), Read::Empty);
}

#[test]
fn cursors_start_at_the_end_or_on_the_newest_record() {
    let (mut writer, ring) = ring(256);
    assert_eq!(ring.cursor_at_end(), ring.cursor_at_latest());
    for id in 1..=3 {
        publish(&mut writer, id, 4);
    }

    let (mut at_end, mut at_latest) = (ring.cursor_at_end(), ring.cursor_at_latest());

    assert_eq!((ring.lag(&at_end), ring.lag(&at_latest)), (0, 1));
    assert_eq!(read_all(&ring, &mut at_latest), (vec![3], 0));
    publish(&mut writer, 4, 4);
    assert_eq!(read_all(&ring, &mut at_end), (vec![4], 0));
}

#[test]
fn a_lapped_reader_learns_the_exact_count_and_has_room_to_catch_up() {
    let (mut writer, ring) = ring(1024);
    let mut cursor = ring.cursor_at_end();
    for id in 1..=1000 {
        publish(&mut writer, id, 4);
    }

    let mut out = Vec::new();
    let Read::Lapped { lost } = ring.read(&mut cursor, &mut out) else { panic!("expected a lap") };
    assert_eq!(ring.lag(&cursor), 1000 - lost);
    assert!(ring.lag(&cursor) >= 60, "kept {} of about 100 records", ring.lag(&cursor));
    for id in 1001..=1015 {
        publish(&mut writer, id, 4);
    }
    let (sequences, lost_again) = read_all(&ring, &mut cursor);
    assert_eq!(lost_again, 0, "a quarter of the ring may pass before the next lap");
    assert_eq!(sequences, (lost + 1..=1015).collect::<Vec<_>>());
}

#[test]
fn a_ring_in_given_storage_is_read_through_a_second_handle() {
    #[derive(Clone)]
    struct Shared(Arc<Vec<Word>>);
    impl AsRef<[Word]> for Shared {
        fn as_ref(&self) -> &[Word] {
            &self.0
        }
    }
    let storage = Shared(Arc::new((0..storage_words(64)).map(|_| Word::new(0)).collect()));
    assert_eq!(Ring::open(storage.clone()).err(), Some(NotARing));

    let (mut writer, _ring) = ring_in(storage.clone());
    let opened = Ring::open(storage).unwrap();
    let mut cursor = opened.cursor_at_end();
    writer.publish(&header(9), &[1, 2]);

    let mut out = Vec::new();
    assert_eq!(opened.read(&mut cursor, &mut out), Read::Record);
    assert_eq!(out[4..], [9, 2 | 3 << 8, 1, 2]);
}

#[test]
#[should_panic(expected = "a record of 33 words in a ring of 64 words")]
fn a_record_that_could_never_be_read_is_refused() {
    let (mut writer, _ring) = ring(64);
    publish(&mut writer, 1, 27);
}

proptest! {
    /// The model is a plain list: whatever is read is the list's next entry, whatever is lost is counted.
    #[test]
    fn reads_and_losses_add_up_to_what_was_published(
        capacity_bits in 5u32..10,
        steps in prop::collection::vec((0usize..64, 0usize..12), 1..120),
    ) {
        let (mut writer, ring) = ring(1 << capacity_bits);
        let longest = ring.max_record_words() - HEADER_WORDS;
        let mut published: Vec<Vec<u64>> = Vec::new();
        let mut cursor = ring.cursor_at_end();
        let (mut expected, mut out) = (0usize, Vec::new());
        for (length, reads) in steps {
            let id = published.len() as u64 + 1;
            let body: Vec<u64> = (0..length.min(longest) as u64).map(|at| id << 32 | at).collect();
            writer.publish(&header(id), &body);
            published.push(body);
            for _ in 0..reads {
                match ring.read(&mut cursor, &mut out) {
                    Read::Empty => prop_assert_eq!(expected, published.len()),
                    Read::Lapped { lost } => {
                        prop_assert!(lost > 0);
                        expected += lost as usize;
                    }
                    Read::Record => {
                        prop_assert_eq!(out[1], expected as u64 + 1);
                        prop_assert_eq!(&out[HEADER_WORDS..], &published[expected][..]);
                        expected += 1;
                    }
                }
                prop_assert_eq!(ring.lag(&cursor), (published.len() - expected) as u64);
                prop_assert_eq!(cursor.next_sequence(), expected as u64 + 1);
            }
        }
    }
}

#[test]
fn readers_under_a_racing_writer_never_see_a_torn_record_and_count_every_loss() {
    const RECORDS: u64 = 300_000;
    let (mut writer, ring) = ring(512);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|pace| {
            let (ring, done) = (Arc::clone(&ring), Arc::clone(&done));
            let mut cursor = ring.cursor_at_end();
            thread::spawn(move || {
                let (mut read, mut lost, mut out) = (0u64, 0u64, Vec::new());
                loop {
                    let is_last_look = done.load(Ordering::Acquire);
                    match ring.read(&mut cursor, &mut out) {
                        Read::Empty if is_last_look => return (read, lost),
                        Read::Empty => thread::yield_now(),
                        Read::Lapped { lost: more } => lost += more,
                        Read::Record => {
                            read += 1;
                            let id = out[4];
                            assert_eq!(out[1], id, "sequence and id belong together");
                            assert_eq!(read + lost, id, "what was read and what was lost add up");
                            assert_eq!(out.len() as u64, HEADER_WORDS as u64 + id % 40);
                            assert!(out[HEADER_WORDS..].iter().all(|word| *word == id), "torn: {out:?}");
                            if pace > 0 && id % (pace * 64) == 0 {
                                thread::yield_now();
                            }
                        }
                    }
                }
            })
        })
        .collect();

    for id in 1..=RECORDS {
        writer.publish(&header(id), &vec![id; (id % 40) as usize]);
    }
    done.store(true, Ordering::Release);

    for reader in readers {
        let (read, lost) = reader.join().unwrap();
        assert_eq!(read + lost, RECORDS);
    }
}
