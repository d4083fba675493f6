//! Run a recording through the engine as fast as it goes and print what it took, as one JSON line.
//!
//! `recording_bench FILE SYMBOL spot|futures [ROUNDS]`. One core, frames in memory; every round is a fresh engine, and
//! the published figures are the median round. Publishing is included; nobody reads the rings.

use std::io::Read;
use std::time::Instant;

use raven_core::engine::{Engine, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::event::Scales;
use raven_core::sequence::Rule;

struct Frame {
    recv_ns: i64,
    text: Vec<u8>,
    is_snapshot: bool,
    levels: usize,
}

fn load(path: &str) -> Vec<Frame> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).expect("the recording can be opened");
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).expect("the recording is gzip");
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let space = line.iter().position(|byte| *byte == b' ').expect("a receive time");
            let recv_ns = std::str::from_utf8(&line[..space]).expect("ascii").parse().expect("ns");
            let text = line[space + 1..].to_vec();
            let is_snapshot = text.starts_with(b"{\"lastUpdateId\"");
            let is_depth = text.windows(13).take(80).any(|window| window == b"\"depthUpdate\"");
            let levels = if is_depth { text.windows(2).filter(|window| window == b"[\"").count() } else { 0 };
            Frame { recv_ns, text, is_snapshot, levels }
        })
        .collect()
}

fn engine(symbol: &str, rule: Rule) -> (Engine, u32, u32) {
    let mut engine = Engine::new(Hub::new(), EngineConfig::default());
    let venue = engine.add_venue("bench", rule);
    let scales = Scales { price: 0, quantity: 0 };
    let instrument = engine.add_instrument(venue, symbol, scales, 1 << 18, true).expect("first of its name");
    let connection = engine.open_connection(venue).expect("the venue is known");
    (engine, instrument, connection)
}

fn feed(engine: &mut Engine, instrument: u32, connection: u32, frame: &Frame) -> u32 {
    if frame.is_snapshot {
        engine.on_snapshot(instrument, frame.recv_ns, &frame.text, 1000)
    } else {
        engine.on_frame(connection, frame.recv_ns, &frame.text)
    }
}

fn percentile(sorted: &[u64], fraction: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * fraction) as usize]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, symbol, rule, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: recording_bench FILE SYMBOL spot|futures [ROUNDS]");
        std::process::exit(2);
    };
    let rule = Rule::from_name(rule).expect("spot or futures");
    let rounds: usize = rest.first().map_or(11, |text| text.parse().expect("a number of rounds"));
    let frames = load(path);

    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let (mut engine, instrument, connection) = engine(symbol, rule);
            let start = Instant::now();
            for frame in &frames {
                feed(&mut engine, instrument, connection, frame);
            }
            let elapsed = start.elapsed().as_secs_f64();
            let counters = engine.instrument(instrument).expect("still there").counters;
            assert_eq!(counters.received, counters.published + counters.ignored, "nothing refused, nothing lost");
            elapsed
        })
        .collect();
    seconds.sort_by(f64::total_cmp);

    let report = service_times(&frames, symbol, rule);
    let (p99_step, busy) = queue_in_step(&frames, &report, 100);
    let pick = |wanted: &dyn Fn(&Frame) -> bool| {
        let chosen = frames.iter().zip(&report).filter(|(frame, _)| !frame.is_snapshot && wanted(frame));
        let mut times: Vec<u64> = chosen.map(|(_, took)| *took).collect();
        times.sort_unstable();
        format!(
            "{{\"count\":{},\"ns_mean\":{:.0},\"ns_p50\":{},\"ns_p99\":{}}}",
            times.len(),
            times.iter().sum::<u64>() as f64 / times.len().max(1) as f64,
            percentile(&times, 0.5),
            percentile(&times, 0.99)
        )
    };
    println!(
        concat!(
            "{{\"frames\":{},\"rounds\":{},\"frames_per_s\":{:.0},\"frames_per_s_best\":{:.0},\"diffs\":{},",
            "\"diffs_of_60_to_76_levels\":{},\"small\":{},\"in_step_100_p99_us\":{:.1},\"in_step_100_busy\":{:.4}}}"
        ),
        frames.len(),
        rounds,
        frames.len() as f64 / seconds[rounds / 2],
        frames.len() as f64 / seconds[0],
        pick(&|frame| frame.levels > 0),
        pick(&|frame| (60..=76).contains(&frame.levels)),
        pick(&|frame| frame.levels == 0),
        p99_step,
        busy,
    );
}

/// Nanoseconds that each frame took: the median of seven fresh runs, less what reading the clock costs.
fn service_times(frames: &[Frame], symbol: &str, rule: Rule) -> Vec<u64> {
    let clock_ns = {
        let start = Instant::now();
        (0..100_000).for_each(|_| {
            std::hint::black_box(Instant::now());
        });
        start.elapsed().as_nanos() as u64 / 100_000
    };
    let mut took: Vec<[u64; 7]> = vec![[0; 7]; frames.len()];
    for round in 0..7 {
        let (mut engine, instrument, connection) = engine(symbol, rule);
        for (frame, took) in frames.iter().zip(&mut took) {
            let start = Instant::now();
            std::hint::black_box(feed(&mut engine, instrument, connection, frame));
            took[round] = (start.elapsed().as_nanos() as u64).saturating_sub(clock_ns);
        }
    }
    took.iter_mut().for_each(|rounds| rounds.sort_unstable());
    took.iter().map(|rounds| rounds[3]).collect()
}

/// One core serves `copies` symbols whose frames all arrive at the recorded times; returns the 99th percentile of
/// waiting plus service in microseconds, and how busy the core is.
fn queue_in_step(frames: &[Frame], service_ns: &[u64], copies: u64) -> (f64, f64) {
    let (mut free_at, mut busy) = (0i64, 0u64);
    let mut delays = Vec::with_capacity(frames.len() * copies as usize);
    for (arrival, service) in frames.iter().map(|frame| frame.recv_ns).zip(service_ns) {
        for _ in 0..copies {
            free_at = free_at.max(arrival) + *service as i64;
            busy += service;
            delays.push((free_at - arrival) as u64);
        }
    }
    delays.sort_unstable();
    let span = frames.last().map_or(1, |last| last.recv_ns - frames[0].recv_ns) as f64;
    (percentile(&delays, 0.99) as f64 / 1_000.0, busy as f64 / span)
}
