//! Topics by name, and the doorbell.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;

use raven_core::hub::{Hub, TopicExists, TopicKey};
use raven_core::record::{data_type, Header, Kind};
use raven_core::ring::Read;

fn key(symbol: &str, data_type: i32, depth: u16) -> TopicKey {
    TopicKey { venue: "binance".into(), symbol: symbol.into(), data_type, depth }
}

fn trade() -> Header {
    Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: 0,
        exchange_ns: 0,
        id: 0,
        price_scale: 0,
        quantity_scale: 0,
        bids: 0,
        asks: 0,
    }
}

struct Thread(thread::Thread, AtomicU64);

impl Wake for Thread {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn this_thread() -> (Arc<Thread>, Waker) {
    let wakes = Arc::new(Thread(thread::current(), AtomicU64::new(0)));
    (Arc::clone(&wakes), Waker::from(wakes))
}

#[test]
fn a_book_is_found_by_the_smallest_tier_that_is_deep_enough() {
    let hub = Hub::new();
    let books: Vec<_> = [100, 20, 1000]
        .map(|depth| hub.create_topic(key("BTCUSDT", data_type::ORDERBOOK, depth), 1 << 20).unwrap())
        .into();
    let _other = hub.create_topic(key("ETHUSDT", data_type::ORDERBOOK, 5000), 1 << 20).unwrap();

    let found = |depth| hub.find("binance", "BTCUSDT", data_type::ORDERBOOK, depth).map(|topic| topic.key().depth);

    assert_eq!([0, 5, 20, 21, 1000].map(found), [Some(20), Some(20), Some(20), Some(100), Some(1000)]);
    assert_eq!(found(1001), None);
    assert_eq!(hub.find("binance", "BTCUSDT", data_type::TRADES, 0).map(|topic| topic.id()), None);
    assert_eq!(hub.topic(books[0].topic().id()).unwrap().key().depth, 100);
}

#[test]
fn a_topic_has_one_writer() {
    let hub = Hub::new();
    let first = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();

    let refused = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap_err();

    assert_eq!(refused, TopicExists::Exists(first.topic().key().clone()));
    assert!(refused.to_string().contains("BTCUSDT"));
}

#[test]
fn an_ended_topic_is_not_found_but_can_be_read_to_its_end() {
    let hub = Hub::new();
    let mut publisher = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();
    let id = publisher.topic().id();
    let mut reader = publisher.topic().reader(false);
    publisher.publish(&trade(), &[1]);

    assert!(hub.end_topic(id));

    assert!(!hub.end_topic(id));
    assert!(hub.topic(id).is_none() && hub.topics().is_empty());
    assert_eq!(reader.read(&mut Vec::new()), Read::Record);
    assert!(reader.topic().is_ended());
    let again = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();
    assert_ne!(again.topic().id(), id);
}

#[test]
fn the_slot_of_a_topic_is_used_again_under_another_id() {
    let hub = Hub::new();
    let first = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();
    let (id, slot) = (first.topic().id(), first.topic().slot());
    hub.end_topic(id);
    drop(first);

    let second = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();

    assert_eq!(second.topic().slot(), slot);
    assert_ne!(second.topic().id(), id);
}

#[test]
fn readers_are_counted_while_they_live() {
    let hub = Hub::new();
    let publisher = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();
    let readers = [publisher.topic().reader(false), publisher.topic().reader(true)];
    assert_eq!(publisher.topic().readers(), 2);
    drop(readers);
    assert_eq!(publisher.topic().readers(), 0);
}

#[test]
fn only_watched_topics_are_noted_each_once() {
    let hub = Hub::new();
    let listening = hub.listen().unwrap();
    let mut topics: Vec<_> =
        (0..200).map(|at| hub.create_topic(key(&format!("S{at}"), data_type::TRADES, 0), 1024).unwrap()).collect();
    for at in [3, 70, 199] {
        listening.watch(topics[at].topic());
    }

    for topic in &mut topics {
        topic.publish(&trade(), &[1]);
        topic.publish(&trade(), &[1]);
    }

    let mut slots = Vec::new();
    listening.take(&mut slots);
    assert_eq!(slots, [3, 70, 199].map(|at: usize| topics[at].topic().slot()));
    slots.clear();
    listening.take(&mut slots);
    assert_eq!(slots, []);
}

#[test]
fn the_bell_wakes_a_sleeping_listener_once_and_only_for_news() {
    let hub = Hub::new();
    let listening = hub.listen().unwrap();
    let mut publisher = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1024).unwrap();
    listening.watch(publisher.topic());
    let (wakes, waker) = this_thread();

    publisher.publish(&trade(), &[1]);
    hub.ring_doorbell();
    assert_eq!(wakes.1.load(Ordering::SeqCst), 0, "nobody sleeps");
    assert!(!listening.may_sleep(&waker), "something is there already");
    listening.take(&mut Vec::new());
    assert!(listening.may_sleep(&waker));
    hub.ring_doorbell();
    assert_eq!(wakes.1.load(Ordering::SeqCst), 0, "nothing is new");
    for _ in 0..3 {
        publisher.publish(&trade(), &[1]);
        hub.ring_doorbell();
    }
    assert_eq!(wakes.1.load(Ordering::SeqCst), 1);
}

#[test]
fn places_for_listeners_are_limited_and_given_back() {
    let hub = Hub::new();
    let all: Vec<_> = std::iter::from_fn(|| hub.listen()).collect();
    assert_eq!(all.len(), raven_core::hub::MAX_LISTENERS);
    drop(all);
    assert!(hub.listen().is_some());
}

#[test]
fn two_writers_and_a_sleeping_listener_lose_nothing() {
    const RECORDS: u64 = 100_000;
    let hub = Hub::new();
    let listening = hub.listen().unwrap();
    let publishers: Vec<_> =
        ["A", "B"].map(|symbol| hub.create_topic(key(symbol, data_type::TRADES, 0), 1 << 23).unwrap()).into();
    let mut readers: Vec<_> = publishers.iter().map(|publisher| publisher.topic().reader(false)).collect();
    for publisher in &publishers {
        listening.watch(publisher.topic());
    }
    let writers: Vec<_> = publishers
        .into_iter()
        .map(|mut publisher| {
            let hub = Arc::clone(&hub);
            thread::spawn(move || {
                for at in 0..RECORDS {
                    publisher.publish(&trade(), &[at]);
                    hub.ring_doorbell();
                }
            })
        })
        .collect();

    let (_, waker) = this_thread();
    let (mut slots, mut out, mut seen) = (Vec::new(), Vec::new(), 0);
    while seen < 2 * RECORDS {
        slots.clear();
        listening.take(&mut slots);
        for slot in &slots {
            let reader = readers.iter_mut().find(|reader| reader.topic().slot() == *slot).unwrap();
            while reader.read(&mut out) == Read::Record {
                seen += 1;
            }
        }
        // A lost wake-up would leave this thread parked for good, and the test would never end.
        if seen < 2 * RECORDS && listening.may_sleep(&waker) {
            thread::park();
            listening.awake();
        }
    }

    for writer in writers {
        writer.join().unwrap();
    }
    assert!(readers.iter().all(|reader| reader.lost() == 0));
}
