//! What shared memory costs and brings: `shm_bench cost`, `shm_bench backlog`, `shm_bench write NAME RATE SECONDS`,
//! `shm_bench read NAME SECONDS`. Prints one line of JSON. `benches/shm.py` runs it.

use std::hint::spin_loop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, Header, Kind};
use raven_core::ring::Read;
use raven_shm::reader::From;
use raven_shm::{Reader, Seen, Segment};
use rustix::time::{clock_gettime, ClockId};

const RECORDS: u64 = 5_000_000;
const ROUNDS: usize = 5;
/// Room for `BACKLOG` trades of 88 bytes.
const RING_BYTES: usize = 64 << 20;
const BACKLOG: u64 = 500_000;

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn publish(publisher: &mut Publisher, id: u64, now_ns: i64) {
    let header = Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: now_ns,
        exchange_ns: now_ns,
        id,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    };
    publisher.publish(&header, &[id, 5, id & 1, 0, 0]);
}

fn topic(hub: &Hub, symbol: &str) -> Publisher {
    let key = TopicKey { venue: "bench".into(), symbol: symbol.into(), data_type: data_type::TRADES, depth: 0 };
    hub.create_topic(key, RING_BYTES).expect("first of its name")
}

fn shared(name: &str) -> (Arc<Segment>, Arc<Hub>) {
    let segment = Arc::new(Segment::create(name, 256 << 20, now_ns()).expect("the name is free"));
    let hub = Hub::in_memory_of(Some(Arc::clone(&segment) as _));
    (segment, hub)
}

/// The best of some rounds, ns per record.
fn best(mut round: impl FnMut() -> u64) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        let records = round();
        started.elapsed().as_nanos() as f64 / records as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn publishing(publisher: &mut Publisher) -> f64 {
    best(|| {
        (0..RECORDS).for_each(|id| publish(publisher, id, 1));
        RECORDS
    })
}

/// Publishing on the heap and in shared memory, and what a mirror would cost besides.
fn cost() -> String {
    let (_segment, mapped) = shared(&format!("raven-bench-{}", std::process::id()));
    let heap = Hub::new();
    let (mut on_heap, mut in_shared) = (topic(&heap, "HEAP"), topic(&mapped, "SHARED"));
    let (heap_ns, shared_ns) = (publishing(&mut on_heap), publishing(&mut in_shared));

    let (mut reader, mut out) = (on_heap.topic().reader(false), Vec::new());
    let mut mirror_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        (0..BACKLOG).for_each(|id| publish(&mut on_heap, id, 1));
        let (started, mut records) = (Instant::now(), 0);
        while reader.read(&mut out) == Read::Record {
            let header = Header::from_words(&out).expect("a record");
            in_shared.publish(&header, &out[6..]);
            records += 1;
        }
        mirror_ns = mirror_ns.min(started.elapsed().as_nanos() as f64 / f64::from(records.max(1)));
    }
    format!("{{\"publish_heap_ns\":{heap_ns:.1},\"publish_shared_ns\":{shared_ns:.1},\"mirror_ns\":{mirror_ns:.1}}}")
}

/// Reading what waits, one by one and in runs, through another mapping of the file.
fn backlog() -> String {
    let name = format!("raven-bench-{}", std::process::id());
    let (_segment, hub) = shared(&name);
    let mut publisher = topic(&hub, "BTCUSDT");
    let reader = Reader::open(&name).expect("made");
    let mut topic = reader.topic("bench", "BTCUSDT", data_type::TRADES, 0, From::Now).expect("made");
    let (mut single, mut run) = (f64::INFINITY, f64::INFINITY);
    let mut out = Vec::new();
    for _ in 0..ROUNDS {
        (0..BACKLOG).for_each(|id| publish(&mut publisher, id, 1));
        let (started, mut sum, mut records) = (Instant::now(), 0, 0u64);
        while topic.read(&mut out) == Seen::Record {
            (sum, records) = (sum + out[6], records + 1);
        }
        single = single.min(started.elapsed().as_nanos() as f64 / records as f64);
        (0..BACKLOG).for_each(|id| publish(&mut publisher, id, 1));
        let (started, before) = (Instant::now(), topic.next_sequence());
        while topic.read_run(4096, &mut out) == Seen::Record {
            sum += out.chunks_exact(11).map(|record| record[6]).sum::<u64>();
            out.clear();
        }
        run = run.min(started.elapsed().as_nanos() as f64 / (topic.next_sequence() - before) as f64);
        assert!(sum > 0 && records == BACKLOG && topic.lost() == 0);
    }
    let (single, run) = (1e9 / single, 1e9 / run);
    format!("{{\"one_by_one_per_second\":{single:.0},\"runs_per_second\":{run:.0}}}")
}

/// Publish at a rate (0: as fast as it goes), and say how many came of it.
fn write(name: &str, rate: f64, seconds: f64) -> String {
    let (_segment, hub) = shared(name);
    let mut publisher = topic(&hub, "BTCUSDT");
    println!("ready");
    let (started, mut id) = (Instant::now(), 0u64);
    while started.elapsed().as_secs_f64() < seconds {
        if rate > 0.0 {
            // Spin to the moment, so that the time in the record is that of its publication.
            let due = started + Duration::from_secs_f64(id as f64 / rate);
            while Instant::now() < due {
                spin_loop();
            }
            id += 1;
            publish(&mut publisher, id, now_ns());
        } else {
            (0..1_000).for_each(|at| publish(&mut publisher, id + at, 1));
            id += 1_000;
        }
    }
    format!("{{\"published_per_second\":{:.0}}}", id as f64 / started.elapsed().as_secs_f64())
}

/// Poll, and say how old records were when they were read, and how many came.
fn read(name: &str, seconds: f64) -> String {
    let reader = Reader::open(name).expect("made");
    let mut topic = reader.topic("bench", "BTCUSDT", data_type::TRADES, 0, From::Now).expect("made");
    let (started, mut out, mut ages, mut records) = (Instant::now(), Vec::new(), Vec::new(), 0u64);
    while started.elapsed().as_secs_f64() < seconds {
        for _ in 0..1_000 {
            if topic.read(&mut out) == Seen::Record {
                ages.push(now_ns() - out[2] as i64);
                records += 1;
            }
        }
    }
    ages.sort_unstable();
    let at = |share: f64| ages.get((share * ages.len() as f64) as usize).copied().unwrap_or(-1);
    format!(
        "{{\"records\":{records},\"lost\":{},\"p50_ns\":{},\"p99_ns\":{},\"p999_ns\":{}}}",
        topic.lost(),
        at(0.5),
        at(0.99),
        at(0.999)
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<f64>().expect("a number");
    println!(
        "{}",
        match arguments.first().map(String::as_str) {
            Some("cost") => cost(),
            Some("backlog") => backlog(),
            Some("write") => write(&arguments[1], number(2), number(3)),
            Some("read") => read(&arguments[1], number(2)),
            _ => panic!("shm_bench cost | backlog | write NAME RATE SECONDS | read NAME SECONDS"),
        }
    );
}
