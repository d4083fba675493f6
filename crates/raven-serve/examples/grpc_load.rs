//! The two ends of the gRPC benches, each a process of its own so that each can have its own core.
//!
//! `grpc_load serve <clients> <seconds> <per_second, 0 = as fast as they read> <batch> <busy: 0|1> <publisher core>`
//! prints its port, waits for the clients, publishes trades, prints what happened as one JSON line.
//! `grpc_load client <port> <clients> <decode|count>` reads until the server ends, prints the same. Run by `benches/grpc_native.py`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, Header, Kind};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::market_data_service_client::MarketDataServiceClient;
use raven_serve::raven::{MarketDataMessage, SubscriptionRequest};
use raven_serve::{Attach, Config, Server};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::transport::Endpoint;
use tonic::Status;

type Outcome = Result<(), Box<dyn Error>>;

/// Records that may be on their way to the slowest client before the publisher waits (full speed only).
const WINDOW: u64 = 16_384;
const BURST: u64 = 1024;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| -> Result<u64, Box<dyn Error>> {
        Ok(arguments.get(at).ok_or("an argument is missing; see the top of the file")?.parse()?)
    };
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            serve(number(1)?, number(2)?, number(3)?, number(4)? as usize, number(5)? != 0, number(6)? as usize)
        }
        Some("client") => {
            let is_decoding = arguments.get(3).is_some_and(|how| how == "decode");
            tokio::runtime::Builder::new_current_thread().enable_all().event_interval(4).build()?.block_on(client(
                number(1)? as u16,
                number(2)?,
                is_decoding,
            ))
        }
        _ => Err("say serve or client; see the top of the file".into()),
    }
}

fn serve(clients: u64, seconds: u64, per_second: u64, batch: usize, is_busy: bool, publisher_core: usize) -> Outcome {
    let hub = Hub::new();
    let key =
        TopicKey { venue: "binance_futures".into(), symbol: "BTCUSDT".into(), data_type: data_type::TRADES, depth: 0 };
    let mut publisher = hub.create_topic(key, 8 << 20)?;
    let config = Config { port: 0, max_connections: 20_000, busy_poll: is_busy, ..Config::default() };
    let server = Arc::new(Server::new(Arc::clone(&hub), config));
    println!("{}", server.start()?);

    let mut open = 0;
    while open < clients {
        let Some(call) = server.next_call(Duration::from_secs(60)) else { return Err("clients did not come".into()) };
        if call.method == "stream_opened" {
            server.configure_stream(call.stream_id, batch, 0);
            server.attach(
                call.stream_id,
                publisher.topic().id(),
                Attach { from_latest: false, ..Attach::default() },
            )?;
            open += 1;
        }
    }
    server.streams();
    core_affinity::set_for_current(core_affinity::CoreId { id: publisher_core });
    let memory_before = resident_kib();
    let (published, elapsed, mut costs) = if per_second == 0 {
        full_speed(&hub, &server, &mut publisher, clients, seconds)
    } else {
        paced(&hub, &mut publisher, per_second, seconds)
    };
    let memory_after = resident_kib();
    let streams = server.streams();
    let (alive, lag) = (streams.len(), streams.iter().map(|stream| stream.lag).max().unwrap_or(0));
    let processor = processor_seconds();
    let is_drained = server.drain(Duration::from_secs(60));
    costs.sort_unstable();
    let cost = |part: usize| costs.get(costs.len() * part / 1000).copied().unwrap_or(0);
    let mean = costs.iter().sum::<u64>() as f64 / costs.len().max(1) as f64;
    let counters: Vec<String> = server.stats().iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    println!(
        "{{\"published\":{published},\"seconds\":{elapsed},\"alive\":{alive},\"max_lag\":{lag},\"drained\":{is_drained},\
         \"publish_ns_mean\":{mean:.1},\"publish_ns_p50\":{},\"publish_ns_p99\":{},\"cpu_seconds\":{processor},\
         \"rss_kib_before\":{memory_before},\"rss_kib_after\":{memory_after},{}}}",
        cost(500),
        cost(990),
        counters.join(",")
    );
    Ok(())
}

fn publish(publisher: &mut Publisher, id: u64) {
    let header = Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: unix_ns(),
        exchange_ns: 1_700_000_000_123_000_000,
        id,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    };
    publisher.publish(&header, &[5_712_345, 1500, id % 2, id, id]);
}

/// As fast as the slowest client reads: never more than a window ahead.
fn full_speed(
    hub: &Hub,
    server: &Server,
    publisher: &mut Publisher,
    clients: u64,
    seconds: u64,
) -> (u64, f64, Vec<u64>) {
    let start = Instant::now();
    let mut published = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..BURST {
            published += 1;
            publish(publisher, 5_000_000_000 + published);
        }
        hub.ring_doorbell();
        while published * clients > messages(server) + WINDOW * clients
            && start.elapsed() < Duration::from_secs(seconds + 5)
        {
            thread::sleep(Duration::from_micros(100));
        }
    }
    (published, start.elapsed().as_secs_f64(), Vec::new())
}

/// At a fixed rate, one doorbell per record, timing each publication.
fn paced(hub: &Hub, publisher: &mut Publisher, per_second: u64, seconds: u64) -> (u64, f64, Vec<u64>) {
    let total = per_second * seconds;
    let mut costs = Vec::with_capacity(total as usize);
    let start = Instant::now();
    for at in 0..total {
        let due = Duration::from_nanos(at * 1_000_000_000 / per_second);
        while start.elapsed() < due {
            let left = due.saturating_sub(start.elapsed());
            // A sleep ends some 55 us late (the kernel's timer slack); the rest is spun away.
            if left > Duration::from_micros(70) {
                thread::sleep(left - Duration::from_micros(60));
            } else {
                std::hint::spin_loop();
            }
        }
        let before = Instant::now();
        publish(publisher, 5_000_000_000 + at);
        hub.ring_doorbell();
        costs.push(before.elapsed().as_nanos() as u64);
    }
    (total, start.elapsed().as_secs_f64(), costs)
}

fn messages(server: &Server) -> u64 {
    server.stats().into_iter().find(|(name, _)| *name == "messages").map_or(0, |(_, count)| count)
}

async fn client(port: u16, clients: u64, is_decoding: bool) -> Outcome {
    let mut tasks = Vec::new();
    // Few clients get the large windows that a fast one would choose; a crowd in one process gets HTTP/2's default, or
    // what lies in windows alone would keep it busy for half a minute.
    let window = if clients <= 100 { 4 << 20 } else { 64 << 10 };
    for _ in 0..clients {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window);
        let channel = endpoint.connect().await?;
        tasks.push(tokio::spawn(async move {
            if is_decoding {
                decode(MarketDataServiceClient::new(channel)).await
            } else {
                count(Grpc::new(channel)).await
            }
        }));
    }
    let mut sum = Tally::default();
    for task in tasks {
        let tally = task.await?;
        sum.messages += tally.messages;
        sum.bytes += tally.bytes;
        sum.holes += tally.holes;
        sum.lost += tally.lost;
        sum.marks += tally.marks;
        sum.slowest_ns.extend(tally.slowest_ns);
        sum.seconds = sum.seconds.max(tally.seconds);
        sum.clean_ends += tally.clean_ends;
    }
    sum.slowest_ns.sort_unstable();
    let latency = |part: usize| sum.slowest_ns.get(sum.slowest_ns.len() * part / 1000).copied().unwrap_or(0);
    println!(
        "{{\"messages\":{},\"bytes\":{},\"seconds\":{},\"unmarked_holes\":{},\"gap_lost\":{},\"gap_marks\":{},\
         \"ends\":{},\"latency_us_p50\":{},\"latency_us_p99\":{},\"latency_us_p999\":{}}}",
        sum.messages,
        sum.bytes,
        sum.seconds,
        sum.holes,
        sum.lost,
        sum.marks,
        sum.clean_ends,
        latency(500) / 1000,
        latency(990) / 1000,
        latency(999) / 1000,
    );
    Ok(())
}

#[derive(Default)]
struct Tally {
    messages: u64,
    bytes: u64,
    holes: u64,
    lost: u64,
    marks: u64,
    seconds: f64,
    clean_ends: u64,
    /// Publication to client's hand, of one message in 64.
    slowest_ns: Vec<i64>,
}

/// Read and decode every message, and check that nothing is missing without a mark.
async fn decode(mut client: MarketDataServiceClient<tonic::transport::Channel>) -> Tally {
    let mut tally = Tally::default();
    let Ok(stream) = client.stream_market_data(tokio_stream::pending::<SubscriptionRequest>()).await else {
        return tally;
    };
    let mut stream = stream.into_inner();
    let (mut start, mut reached) = (None, 0);
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                start.get_or_insert_with(Instant::now);
                take(&mut tally, &message, &mut reached);
                message.batch.iter().for_each(|message| take(&mut tally, message, &mut reached));
            }
            Ok(None) => break,
            Err(status) => {
                tally.clean_ends = u64::from(status.code() == tonic::Code::Unavailable);
                break;
            }
        }
    }
    tally.seconds = start.map_or(0.0, |start| start.elapsed().as_secs_f64());
    tally
}

fn take(tally: &mut Tally, message: &MarketDataMessage, reached: &mut u64) {
    match &message.data {
        Some(Data::Gap(mark)) => {
            tally.marks += 1;
            tally.lost += mark.count;
            tally.holes += message.sequence - *reached - mark.count;
        }
        Some(_) => {
            tally.messages += 1;
            tally.holes += message.sequence - *reached - 1;
            if tally.messages.is_multiple_of(64) {
                tally.slowest_ns.push(unix_ns() - message.receive_time_ns);
            }
        }
        None => return,
    }
    *reached = message.sequence;
}

/// Read every message and count its bytes: what a client costs that decodes elsewhere or lazily.
async fn count(mut client: Grpc<tonic::transport::Channel>) -> Tally {
    let mut tally = Tally::default();
    if client.ready().await.is_err() {
        return tally;
    }
    let path = http::uri::PathAndQuery::from_static("/raven.MarketDataService/StreamMarketData");
    let request = tonic::Request::new(tokio_stream::pending::<SubscriptionRequest>());
    let Ok(stream) = client.streaming(request, path, Lengths).await else { return tally };
    let mut stream = stream.into_inner();
    let mut start = None;
    while let Ok(Some(length)) = stream.message().await {
        start.get_or_insert_with(Instant::now);
        tally.messages += 1;
        tally.bytes += length as u64;
    }
    tally.seconds = start.map_or(0.0, |start: Instant| start.elapsed().as_secs_f64());
    tally
}

/// A codec that measures messages instead of decoding them.
#[derive(Default)]
struct Lengths;

impl Codec for Lengths {
    type Encode = SubscriptionRequest;
    type Decode = usize;
    type Encoder = tonic_prost::ProstEncoder<SubscriptionRequest>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        tonic_prost::ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Lengths {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        use bytes::Buf;
        let length = source.remaining();
        source.advance(length);
        Ok(Some(length))
    }
}

fn unix_ns() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// User and system time of this process.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |at: usize| stat.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(13) + ticks(14)) / 100.0
}
